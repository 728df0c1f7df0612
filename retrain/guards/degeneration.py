"""Answers stay answers: not empty, not the same words over and over.

Both write greedily to up to 8 held-out prompts and 4 general ones. An answer is broken when it is
empty or when more than half of its 4-grams of tokens were there before in it.
"""

from collections.abc import Sequence

from retrain.guards import Bench, Guard, Messages
from serve.engines.base import Engine, Sampling

HELD_OUT = 8
LENGTH = 64  # tokens; a small model's loops show within 40
ALLOWED = 1  # more broken answers than the champion's: one of twelve is chance
GENERAL = (
    "What should I pack for a weekend in the mountains?",
    "Explain in a few sentences why the sky is blue.",
    "Write a short, friendly message to thank a colleague for her help.",
    "List three ways to save energy at home.",
)


def check(bench: Bench) -> Guard:
    """Hold unless the candidate has more broken answers than the champion and one."""
    prompts: list[Messages] = [*bench.prompts[:HELD_OUT]]
    prompts += [[{"role": "user", "content": text}] for text in GENERAL]
    new = _broken(bench, prompts, bench.candidate)
    # What the champion writes only matters when the candidate's answers are in doubt.
    old = _broken(bench, prompts, bench.champion) if len(new) > ALLOWED else None
    limit = (len(old) if old is not None else 0) + ALLOWED
    detail = f"{len(new)} of {len(prompts)} answers empty or looping, at most {limit} allowed"
    if new:
        detail += f"; the first: {new[0][:80]!r}"
    champion = float(len(old)) if old is not None else None
    return Guard("degeneration", len(new) <= limit, champion, float(len(new)), limit, detail)


def is_broken(text: str, token_ids: Sequence[int]) -> bool:
    """Whether an answer is empty or loops."""
    if not text.strip():
        return True
    grams = [tuple(token_ids[i : i + 4]) for i in range(len(token_ids) - 3)]
    return len(grams) >= 16 and len(set(grams)) < len(grams) / 2


def _broken(bench: Bench, prompts: Sequence[Messages], adapter: str | None) -> list[str]:
    found = []
    for messages in prompts:
        text, token_ids = _answer(bench.engine, messages, adapter)
        if is_broken(text, token_ids):
            found.append(text)
        bench.beat()
    return found


def _answer(engine: Engine, messages: Messages, adapter: str | None) -> tuple[str, list[int]]:
    prompt = engine.encode_chat(list(messages))
    greedy = Sampling(max_tokens=LENGTH, temperature=0.0)
    chunks = list(engine.generate(prompt, greedy, adapter))
    return "".join(c.text for c in chunks), [i for c in chunks for i in c.token_ids]
