"""A paired bootstrap interval that is honest with few items too."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from math import pi, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
LEVEL = 0.95
STEPS = 20_000


@dataclass(frozen=True)
class Interval:
    """The mean of paired differences and its bootstrap interval."""

    n: int
    wins: int  # differences above zero
    mean: float
    low: float
    high: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def paired_interval(
    differences: list[float], seed: int, level: float = LEVEL, freedom: float | None = None
) -> Interval:
    """The interval of the mean by 10,000 resamples, reproducible by its seed.

    The bootstrap alone is too narrow for few items: with 5, the percentile interval finds a gain in
    8 % of the comparisons of equals instead of 2.5 %. So Student's interval is taken as well, and
    of each end the one further out. It has `freedom`, one less than there are differences unless
    they come of two samples (`welch_freedom`).
    """
    values = np.asarray(differences, dtype=np.float64)
    n = len(values)
    mean = float(values.mean()) if n else 0.0
    wins = int((values > 0).sum())
    if n < 2:
        return Interval(n, wins, mean, float("-inf"), float("inf"))
    means = _resampled_means(values, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    freedom = n - 1 if freedom is None else freedom
    reach = student_t((1 + level) / 2, freedom) * float(values.std(ddof=1)) / sqrt(n)
    return Interval(n, wins, mean, min(float(low), mean - reach), max(float(high), mean + reach))


def _resampled_means(
    values: NDArray[np.float64], chance: np.random.Generator
) -> NDArray[np.float64]:
    n = len(values)
    counts = chance.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    return np.asarray(counts @ values / n, dtype=np.float64)


def welch_freedom(one: Sequence[float], other: Sequence[float]) -> float:
    """The degrees of freedom of a difference of two means (Welch 1947, Satterthwaite 1946).

    1, the least, where a sample is too small to tell its variance.
    """
    if min(len(one), len(other)) < 2:
        return 1.0
    parts = [(float(np.var(side, ddof=1)) / len(side), len(side) - 1) for side in (one, other)]
    spread = sum(part * part / freedom for part, freedom in parts)
    return max(1.0, sum(part for part, _ in parts) ** 2 / spread) if spread else 1.0


@lru_cache(maxsize=256)
def student_t(p: float, freedom: float) -> float:
    """The quantile of Student's t distribution, for p from 0.5 to 0.9999.

    With x = sqrt(freedom) tan(angle) its density is that of cos(angle) ** (freedom - 1), which is
    summed up from 0 to a right angle, where x has no end.
    """
    if freedom > 200:
        return NormalDist().inv_cdf(p)
    angles, width = np.linspace(0.0, pi / 2, STEPS + 1, retstep=True)
    density = np.cos((angles[1:] + angles[:-1]) / 2) ** (freedom - 1)  # in the middle of each step
    below = np.concatenate([[0.0], np.cumsum(density)]) * width
    angle = np.interp((2 * p - 1) * below[-1], below, angles)
    return float(sqrt(freedom) * np.tan(angle))
