"""Answers stay answers: not empty, not the same words over and over.

Looked at are the answers that guards share. One is broken when it is empty or when more than half
of its 4-grams of tokens were there before in it.
"""

from collections.abc import Sequence

from retrain.guards import Bench, Guard
from retrain.guards._faults import check_faults


def check(bench: Bench) -> Guard:
    """Hold unless the candidate has more broken answers than `check_faults` allows."""
    count = len(bench.sample())
    return check_faults(
        bench, "degeneration", lambda adapter: _broken(bench, adapter), count, "empty or looping"
    )


def is_broken(text: str, token_ids: Sequence[int]) -> bool:
    """Whether an answer is empty or loops."""
    if not text.strip():
        return True
    grams = [tuple(token_ids[i : i + 4]) for i in range(len(token_ids) - 3)]
    return len(grams) >= 16 and len(set(grams)) < len(grams) / 2


def _broken(bench: Bench, adapter: str | None) -> list[str]:
    asked = bench.sample()
    answers = zip(asked, bench.write(asked, adapter), strict=True)
    return [bench.quote(m, a) for m, a in answers if is_broken(a.text, a.token_ids)]
