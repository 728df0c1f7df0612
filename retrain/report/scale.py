"""From numbers to places in a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from statistics import median

BINS = 24


@dataclass(frozen=True)
class Scale:
    """`scale(value)` is its place from 0 to 100 between `low` and `high`; infinity is at an end.

    `margin` is the share of the room that is left free at both ends.
    """

    low: float
    high: float
    margin: float = 0.03

    def __call__(self, value: float) -> float:
        room = 100 * (1 - 2 * self.margin)
        if not isfinite(value):
            return 0.0 if value < 0 else 100.0
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(100 * self.margin + room * min(1.0, max(0.0, share)), 2)


def around(values: Sequence[float]) -> Scale:
    """A scale that holds the finite values and zero."""
    finite = [value for value in values if isfinite(value)]
    return Scale(min([0.0, *finite]), max([0.0, *finite]))


@dataclass(frozen=True)
class Histogram:
    """How many whole numbers are in each of equally wide ranges; the last one has no end."""

    counts: Sequence[int]
    lowest: int
    median: int
    highest: int
    width: int

    def scale(self, count: int) -> float:
        """The height of a range, of 100; one that holds something is never flat."""
        share = 100 * count / max(*self.counts, 1)
        return round(max(share, 2.0 if count else 0.0), 2)

    def range(self, place: int) -> str:
        begin = self.lowest + place * self.width
        last = place == len(self.counts) - 1 and begin + self.width <= self.highest
        return f"{begin:,} and more" if last else f"{begin:,} to {begin + self.width - 1:,}"


def histogram(values: Sequence[int], bins: int = BINS) -> Histogram:
    """Ranges up to where 99 % of the values are, which the few above do not flatten."""
    ordered = sorted(values) or [0]
    lowest, usual = ordered[0], ordered[ceil(0.99 * len(ordered)) - 1]
    width = max(1, ceil((usual - lowest + 1) / bins))
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, (value - lowest) // width)] += 1
    return Histogram(counts, lowest, int(median(ordered)), ordered[-1], width)
