"""How often a verdict is wrong, as far as people who judged the same thing disagree."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from math import comb, sqrt
from typing import Any

from feedback.shares import wilson
from retrain.reviews import Thing, thing
from retrain.rows import Row, picked

ENOUGH = 20  # pairs of people; of fewer, the rate is anybody's guess
SEVERAL = 10  # things judged: on one thing people may differ by taste, however many they are
# Of a rate that is trained with. The robust loss of the picks divides by 1 - 2 rate, so at 0.25 its
# gradient is twice what it was, at 0.4 five times, and the SFT term beside it, which keeps texts
# whole, is the same as ever. A higher rate than this is allowed for in part.
MOST = 0.25
KINDS = ("comparison", "rating")


def to_train_with(found: Mapping[str, Any]) -> float:
    """The rate of wrong picks as a robust loss takes it; 0 while too few people compared the same.

    Thumbs have no say in it: how people differ on one answer says nothing of picks between two.
    """
    picks = found["comparison"]
    enough = picks["pairs"] >= ENOUGH and picks["subjects"] >= SEVERAL
    return min(picks["rate"], MOST) if enough else 0.0


def estimate(rows: Iterable[Row]) -> dict[str, dict[str, Any]]:
    """{subjects, pairs, disagreeing, rate, low, high} of comparisons and of ratings.

    A pair is two users' verdicts on one text under one prompt, or their picks between the same
    texts. Each of the n - 1 pairs that a user is in counts 1 / (n - 1), so that n users are n / 2
    pairs: seven on one text make 21 pairs, but say little more than seven times one thing. If each
    is wrong with chance e on its own, two differ with chance d = 2e(1 - e), so
    e = (1 - sqrt(1 - 2d)) / 2; `low` and `high` are of Wilson's 95 % interval of d. The rates are
    None while nobody judged the same.
    """
    said = _said(rows)
    return {kind: _rates([Counter(one.values()) for one in said[kind].values()]) for kind in KINDS}


def _rates(votes: Iterable[Counter[Any]]) -> dict[str, Any]:
    """What the verdicts on each subject, by how many users there are for each, amount to."""
    told = [said for said in votes if said.total() > 1]
    pairs = sum(said.total() / 2 for said in told)
    differ = sum(map(_differing, told))
    found: dict[str, Any] = {
        "subjects": len(told),
        "pairs": pairs,
        "disagreeing": round(differ, 2),
        "rate": None,
        "low": None,
        "high": None,
    }
    if not told:
        return found
    shares = differ / pairs, *wilson(differ, pairs)
    rates = [round((1 - sqrt(max(0.0, 1 - 2 * share))) / 2, 4) for share in shares]
    return found | dict(zip(("rate", "low", "high"), rates, strict=True))


def _differing(said: Counter[Any]) -> float:
    """How many pairs of users differ, as each of them counts."""
    users = said.total()
    return (comb(users, 2) - sum(comb(n, 2) for n in said.values())) / (users - 1)


def _said(rows: Iterable[Row]) -> dict[str, dict[Thing, dict[str, Any]]]:
    """By kind and thing judged: what each user says of it in the end."""
    found: dict[str, dict[Thing, dict[str, Any]]] = {kind: defaultdict(dict) for kind in KINDS}
    for row in rows:
        subject = thing(row)
        if subject and (pick := picked(row)):
            found["comparison"][subject][row["user_id"]] = pick[0]["text"]
        elif subject and row["kind"] == "rating":
            found["rating"][subject][row["user_id"]] = row["payload"]["value"] > 0
    return found
