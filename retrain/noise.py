"""How often a verdict is wrong, as far as people who judged the same thing disagree."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from math import comb, sqrt
from typing import Any

from feedback.shares import wilson
from retrain.reviews import Thing, thing
from retrain.rows import Row, picked

ENOUGH = 20  # pairs of verdicts; of fewer, the rate is anybody's guess
MOST = 0.4  # of a rate that is trained with: the robust loss divides by 1 - 2 rate


def to_train_with(found: Mapping[str, Any]) -> float:
    """The estimate's rate as a robust loss takes it; 0 while too few people judged the same."""
    return min(found["rate"], MOST) if found["pairs"] >= ENOUGH else 0.0


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
    shares = differ / pairs, *wilson(differ, pairs)
    rates = [round((1 - sqrt(max(0.0, 1 - 2 * share))) / 2, 4) for share in shares]
    return found | dict(zip(("rate", "low", "high"), rates, strict=True))


def _same_subject(rows: Iterable[Row]) -> Iterable[dict[str, Any]]:
    """For each thing judged: what each user says of it in the end."""
    found: dict[Thing, dict[str, Any]] = defaultdict(dict)
    for row in rows:
        subject = thing(row)
        if subject and (pick := picked(row)):
            found[subject][row["user_id"]] = pick[0]["text"]
        elif subject and row["kind"] == "rating":
            found[subject][row["user_id"]] = row["payload"]["value"] > 0
    return found.values()
