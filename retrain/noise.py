"""How often a verdict is wrong, as far as people who judged the same thing disagree."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from math import comb, sqrt
from typing import Any

from retrain.parts import on_reasoning
from retrain.rows import Row, completion, judged, picked, prompt_key

Z = 1.96  # of a 95 % interval


def estimate(rows: Iterable[Row]) -> dict[str, Any]:
    """{pairs, disagreeing, rate, low, high}; the rates are None while nobody judged the same.

    A pair is two users' verdicts on one text under one prompt, or their picks between the same
    texts. If each is wrong with chance e on its own, they differ with chance d = 2e(1 - e), so
    e = (1 - sqrt(1 - 2d)) / 2; `low` and `high` are of Wilson's 95 % interval of d.
    """
    votes = [Counter(said.values()) for said in _same_subject(rows)]
    pairs = sum(comb(said.total(), 2) for said in votes)
    differ = pairs - sum(comb(n, 2) for said in votes for n in said.values())
    found: dict[str, Any] = {
        "pairs": pairs,
        "disagreeing": differ,
        "rate": None,
        "low": None,
        "high": None,
    }
    if not pairs:
        return found
    shares = differ / pairs, *_wilson(differ, pairs)
    rates = [round((1 - sqrt(max(0.0, 1 - 2 * share))) / 2, 4) for share in shares]
    return found | dict(zip(("rate", "low", "high"), rates, strict=True))


def _same_subject(rows: Iterable[Row]) -> Iterable[dict[str, Any]]:
    """For each thing judged: what each user says of it in the end."""
    found: dict[tuple[str, ...], dict[str, Any]] = defaultdict(dict)
    for row in rows:
        if pick := picked(row):
            key = ("pick", prompt_key(row), *sorted({c["text"] for c in judged(row)}))
            found[key][row["user_id"]] = pick[0]["text"]
        elif row["kind"] == "rating" and (rated := completion(row)):
            part = rated["reasoning"]["text"] if on_reasoning(row) else ""
            key = ("thumb", prompt_key(row), rated["text"], part)
            found[key][row["user_id"]] = row["payload"]["value"] > 0
    return found.values()


def _wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    share, spread = hits / of, Z * Z / of
    middle = share + spread / 2
    half = Z * sqrt(share * (1 - share) / of + spread / of / 4)
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))
