"""The rule that decides whether a candidate may serve.

1. On the primary kind of held-out feedback, fixed before training, the 95 % interval of the mean
   gain is above zero, over at least `min_heldout` distinct items, which `min_users` distinct users
   stand for, or one whose word is enough: nobody judges alone what they taught.
2. On no other kind is the interval below zero and the mean a loss worth the name (LOSS): a gain in
   one does not pay for a loss in another.
3. No guard regresses beyond its margin.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from retrain.evaluate.interval import Interval, paired_interval, welch_freedom
from retrain.evaluate.items import Item
from retrain.evaluate.measure import Gain
from retrain.guards import Guard
from retrain.rows import CORPUS

LOSS = 0.01  # nats per token, or a probability: 38 of 38 items that lose 0.0003 each lose nothing
SIDES = ("up", "down")  # the two samples of a kind of ratings
NOUN = {
    CORPUS: "questions of the corpus",
    "overlap": "answers beside the corpus's",
    "correction": "corrections",
    "comparison": "comparisons",
    "rating": "rated answers",
    "reasoning_correction": "corrected reasonings",
    "reasoning_rating": "rated reasonings",
}


@dataclass(frozen=True)
class Decision:
    """What the gate says, and the numbers it stands on."""

    promote: bool
    primary: str
    reasons: tuple[str, ...]  # against the candidate; empty when it is promoted
    intervals: dict[str, Interval]  # of the gains that are judged, by kind
    sums: dict[str, Interval]  # of `gain_sum`, by kind: reported, not judged
    guards: tuple[Guard, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "promote": self.promote,
            "primary": self.primary,
            "reasons": list(self.reasons),
            "intervals": {kind: found.as_dict() for kind, found in self.intervals.items()},
            "sums": {kind: found.as_dict() for kind, found in self.sums.items()},
            "guards": [guard.as_dict() for guard in self.guards],
        }


def decide(
    gains: Sequence[Gain],
    guards: Sequence[Guard],
    primary: str,
    min_heldout: int,
    seed: int,
    few: str | None = None,
) -> Decision:
    """Judge a candidate by its gains on held-out items and by its guards.

    `few` says that too few people stand for those items (`judged_by_few`).
    """
    kinds = sorted({gain.kind for gain in gains} | {primary})
    by_kind = {kind: [gain for gain in gains if gain.kind == kind] for kind in kinds}
    intervals = {kind: _interval(found, "gain", seed) for kind, found in by_kind.items()}
    sums = {kind: _interval(found, "gain_sum", seed) for kind, found in by_kind.items()}
    reasons = [*_against(intervals, primary, min_heldout), *([few] if few else [])]
    reasons += [f"guard {g.name} regressed: {g.detail}" for g in guards if not g.held]
    return Decision(not reasons, primary, tuple(reasons), intervals, sums, tuple(guards))


def _interval(gains: Sequence[Gain], name: str, seed: int) -> Interval:
    """The interval of a kind's gains, of one sample or of two."""
    values = [float(getattr(gain, name)) for gain in gains]
    sides = [[v for v, g in zip(values, gains, strict=True) if g.side == s] for s in SIDES]
    return paired_interval(values, seed, freedom=welch_freedom(*sides) if any(sides) else None)


def judged_by_few(
    items: Iterable[Item], gains: Iterable[Gain], primary: str, least: int
) -> str | None:
    """What is wrong with who stands for the primary items that were scored; None for nothing."""
    scored = {gain.key for gain in gains if gain.kind == primary}
    found = [item for item in items if item.kind == primary and item.key in scored]
    people = len({user for item in found for user in item.users})
    if primary == CORPUS or people >= least or any(item.sure for item in found):
        return None
    who = "1 user" if people == 1 else f"{people} users"
    return (
        f"the {len(found)} held-out {NOUN[primary]} are of {who}, and who teaches does not judge "
        f"alone: verdicts of {least} users are needed (REDRAFT_MIN_USERS), or a reviewer's"
    )


def summary(decision: Decision) -> str:
    """The decision in one clause, such as "better on 61 of 80 held-out comparisons"."""
    found = decision.intervals[decision.primary]
    better = f"better on {found.wins} of {found.n} held-out {NOUN[decision.primary]}"
    if decision.promote:
        return f"{better}, all guards held"
    return f"{better}; rejected: {'; '.join(decision.reasons)}"


def _against(intervals: dict[str, Interval], primary: str, min_heldout: int) -> list[str]:
    reasons = []
    for kind, found in intervals.items():
        numbers = (
            f"on {found.n} held-out {NOUN[kind]} the mean gain is {found.mean:+.3f} "
            f"(95 % interval {found.low:+.3f} to {found.high:+.3f})"
        )
        if kind == primary and found.n < min_heldout:
            reasons.append(f"{found.n} held-out {NOUN[kind]} were scored, {min_heldout} are needed")
        elif kind == primary and not found.low > 0:
            reasons.append(f"not surely better: {numbers}")
        elif kind != primary and found.high < 0 and found.mean < -LOSS:
            reasons.append(f"worse: {numbers}")
    return reasons
