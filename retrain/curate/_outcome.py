"""What a step did with its rows."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from retrain.rows import Row, vouched_for

Why = Callable[[Row], str | None]


@dataclass(frozen=True)
class Outcome:
    """`kept` in order; the others were dropped for good or held back, each for a reason.

    `changed` rows are kept too, with other texts than they came with.
    """

    kept: list[Row]
    dropped: Mapping[str, int] = field(default_factory=dict)  # reason: rows
    held: Sequence[tuple[Row, str]] = ()  # (row, reason), for a reviewer to look at
    changed: Mapping[str, int] = field(default_factory=dict)  # what: rows


def sift(rows: Sequence[Row], why: Why) -> Outcome:
    """The rows that `why` has nothing against; the others are dropped."""
    reasons = [why(row) for row in rows]
    kept = [row for row, reason in zip(rows, reasons, strict=True) if reason is None]
    return Outcome(kept, Counter(filter(None, reasons)))


def hold(rows: Sequence[Row], why: Why) -> Outcome:
    """The rows that `why` has nothing against, and those that a reviewer let through.

    The others go to quarantine.
    """
    reasons = [None if vouched_for(row) else why(row) for row in rows]
    kept = [row for row, reason in zip(rows, reasons, strict=True) if reason is None]
    held = [(row, reason) for row, reason in zip(rows, reasons, strict=True) if reason is not None]
    return Outcome(kept, held=held)
