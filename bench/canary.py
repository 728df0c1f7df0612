"""The canary's sequential test: how often it stops one that is as good, how soon one that is worse.

    python bench/canary.py [--runs 1000] [--votes 2000] [--seed 7]

Votes are drawn, and the test is looked at after every one. First table: both arms alike, in runs of
--votes votes; the share of the runs that were ever stopped, which is to stay below 5 %. "mixed" has
ten users of different taste in each run and a day that goes bad half-way. Second table: the canary
is really worse; votes (a conversation each) on both arms, and on the canary, until it was stopped,
as median and 90th percentile over the runs.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from retrain.evaluate.sequential import ALPHA, log_capital

SHARES = (0.05, 0.1, 0.2, 0.5)
RATES = (0.1, 0.3, 0.5, 0.7, 0.9)
WORSE = ((0.9, 0.7), (0.7, 0.5), (0.7, 0.6))
Votes = NDArray[np.bool_]


def crossed(good: Votes, on_canary: Votes, share: float) -> Votes:
    """At which looks the capital stands high enough to stop."""
    found: Votes = log_capital(good.astype(np.float64), on_canary, share) >= -np.log(ALPHA)
    return found


def mixed(chance: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """The chance of a good vote, by users of different taste and a time that changes."""
    runs, votes = shape
    tastes = chance.beta(0.5, 0.5, (runs, 10))
    rate = np.take_along_axis(tastes, chance.integers(0, 10, shape), axis=1)
    return rate * np.where(np.arange(votes) < votes / 2, 1, 0.4)


def false_alarms(chance: np.random.Generator, shape: tuple[int, int]) -> None:
    print("| share | " + " | ".join(f"{rate:.0%} good" for rate in RATES) + " | mixed |")
    print("| --- |" + " --- |" * (len(RATES) + 1))
    for share in SHARES:
        found = []
        for rate in (*RATES, None):
            chances = mixed(chance, shape) if rate is None else rate
            good, on_canary = chance.random(shape) < chances, chance.random(shape) < share
            found.append(crossed(good, on_canary, share).any(axis=1).mean())
        print(f"| {share:.0%} | " + " | ".join(f"{rate:.1%}" for rate in found) + " |")


def power(chance: np.random.Generator, shape: tuple[int, int]) -> None:
    print("\n| champion, canary | share | stopped | votes, median (p90) | of them on the canary |")
    print("| --- | --- | --- | --- | --- |")
    for champion, canary in WORSE:
        for share in SHARES:
            on_canary = chance.random(shape) < share
            good = chance.random(shape) < np.where(on_canary, canary, champion)
            hit = crossed(good, on_canary, share)
            stopped: Votes = np.asarray(hit.any(axis=1))
            at: NDArray[np.int_] = np.where(stopped, hit.argmax(axis=1), shape[1] - 1)
            own = np.take_along_axis(
                np.cumsum(on_canary, axis=1, dtype=np.int_), at[:, None], axis=1
            )[:, 0]
            print(
                f"| {champion:.0%}, {canary:.0%} | {share:.0%} | {stopped.mean():.0%} "
                f"| {_spread(at + 1, stopped)} | {_spread(own, stopped)} |"
            )


def _spread(values: NDArray[np.int_], stopped: Votes) -> str:
    """Median and 90th percentile; those that were never stopped count as beyond the end."""
    known = np.where(stopped, values, np.inf)
    low, high = np.quantile(known, [0.5, 0.9], method="higher")
    return f"{_number(low)} ({_number(high)})"


def _number(value: float) -> str:
    return f"{value:.0f}" if np.isfinite(value) else "–"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--votes", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    chance = np.random.default_rng(given.seed)
    false_alarms(chance, (given.runs, given.votes))
    power(chance, (given.runs, given.votes))


if __name__ == "__main__":
    main()
