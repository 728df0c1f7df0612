"""How sure a share is that was counted."""

from math import sqrt

Z = 1.959964  # of the normal distribution, for 95 %


def wilson(good: float, n: float) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, JASA 22, 1927, p. 209); 0 to 1 for n = 0."""
    if not n:
        return 0.0, 1.0
    share, square = good / n, Z * Z
    middle = (share + square / (2 * n)) / (1 + square / n)
    reach = Z * sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    return max(0.0, middle - reach), min(1.0, middle + reach)
