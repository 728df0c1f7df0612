"""Questions with known answers that the operator chose are answered right as often as before.

`REDRAFT_SUITES` names the files (`retrain.evaluate.suites` says what is in them); without it there
is nothing to look at. A file regressed when the candidate answers surely fewer right than what
serves now, or than the base: of the questions that only one of the two gets right, so many are the
other's that chance alone would give as many in CHANCE of cases at most (the sign test, McNemar
1947, exact). So six questions have to be lost, with none won, before a file can speak.
"""

from collections.abc import Sequence
from math import comb

from retrain.evaluate.suites import answered, won_and_lost
from retrain.guards import Bench, Guard

CHANCE = 0.025


def check(bench: Bench) -> Guard | None:
    """Hold while in no file surely fewer are right. The numbers, shares of right answers, are of
    the file with the least to spare."""
    found = {name: _compared(bench, name) for name in bench.suites}
    if not found:
        return None
    told = "; ".join(
        f"{name}: {sum(new)} of {len(new)} right, what serves now {sum(old)}, base {sum(base)}"
        for name, (new, old, base) in found.items()
    )
    new, old, base = min(found.values(), key=lambda one: _spare(*one))
    spare = _spare(new, old, base)
    before, now, limit = (
        round(count / len(new), 3) for count in (sum(old), sum(new), sum(new) - spare)
    )
    return Guard("suites", spare >= 0, before, now, limit, told)


def _compared(bench: Bench, name: str) -> tuple[list[bool], list[bool], list[bool]]:
    """Which questions of the file candidate, champion and base get right."""
    adapters = bench.candidate, bench.champion, None
    known = {}
    for adapter in dict.fromkeys(adapters):
        known[adapter] = answered(bench.engine, bench.suites[name], adapter, bench.beat)
    new, old, base = map(known.__getitem__, adapters)
    return new, old, base


def _spare(new: Sequence[bool], old: Sequence[bool], base: Sequence[bool]) -> int:
    """How many more right answers could be lost; below zero: so many too many were."""
    return min(_spare_against(new, old), _spare_against(new, base))


def _spare_against(new: Sequence[bool], old: Sequence[bool]) -> int:
    won, lost = won_and_lost(new, old)
    most = max(won, 1)  # with as many lost as won nothing is worse
    while _chance(most + 1, won) > CHANCE:
        most += 1
    return most - lost


def _chance(lost: int, won: int) -> float:
    """The probability that of so many differing questions at least `lost` are, by chance alone."""
    n = lost + won
    return float(sum(comb(n, k) for k in range(lost, n + 1)) / 2**n)
