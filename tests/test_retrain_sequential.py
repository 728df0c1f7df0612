"""The sequential test: how often it stops a canary that is as good, and how soon one that is worse.

Votes are simulated; it is looked at after every one. `bench/canary.py` prints the same at length.
"""

import numpy as np
import pytest
from numpy.typing import NDArray

from feedback.votes import Vote
from retrain.evaluate.sequential import ALPHA, log_capital, weigh

PROMISED = 0.05  # of the canaries that are as good
RUNS, VOTES = 1000, 1000


@pytest.fixture
def chance() -> np.random.Generator:
    return np.random.default_rng(7)


def stopped(good: NDArray[np.bool_], on_canary: NDArray[np.bool_], share: float) -> float:
    """The share of the runs that were stopped at any look."""
    capital = log_capital(good.astype(np.float64), on_canary, share)
    return float((capital.max(axis=1) >= -np.log(ALPHA)).mean())


def tosses(chance: np.random.Generator, share: float) -> NDArray[np.bool_]:
    return chance.random((RUNS, VOTES)) < share


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_one_in_twenty_of_equal_canaries_is_stopped_at_most(
    chance: np.random.Generator, rate: float, share: float
) -> None:
    good = chance.random((RUNS, VOTES)) < rate
    assert stopped(good, tosses(chance, share), share) <= PROMISED


def test_that_holds_for_users_who_differ_and_times_that_change(
    chance: np.random.Generator,
) -> None:
    """Ten users, each with a taste of their own, and votes that turn bad in the second half."""
    tastes = chance.beta(0.5, 0.5, (RUNS, 10))
    who = chance.integers(0, 10, (RUNS, VOTES))
    rate = np.take_along_axis(tastes, who, axis=1) * np.where(np.arange(VOTES) < 500, 1, 0.4)
    good = chance.random((RUNS, VOTES)) < rate
    assert stopped(good, tosses(chance, 0.2), 0.2) <= PROMISED


def test_a_canary_that_only_makes_people_vote_more_is_not_stopped(
    chance: np.random.Generator,
) -> None:
    """Its share of the votes is half as much again as its share of the conversations."""
    good = chance.random((RUNS, VOTES)) < 0.7
    assert stopped(good, tosses(chance, 0.3), 0.2) <= PROMISED


def test_a_better_canary_is_hardly_ever_stopped(chance: np.random.Generator) -> None:
    on_canary = tosses(chance, 0.2)
    good = chance.random((RUNS, VOTES)) < np.where(on_canary, 0.8, 0.7)
    assert stopped(good, on_canary, 0.2) <= 0.01


def test_a_canary_that_is_really_worse_is_stopped(chance: np.random.Generator) -> None:
    on_canary = tosses(chance, 0.2)
    good = chance.random((RUNS, VOTES)) < np.where(on_canary, 0.5, 0.7)
    assert stopped(good, on_canary, 0.2) >= 0.99


def test_a_look_never_forgets_an_earlier_one() -> None:
    """Ten bad votes on the canary stop it, whatever comes after."""
    fine = [Vote(f"usr_{n}", False, True) for n in range(10)]
    worse = fine + [Vote(f"usr_{n}", True, False) for n in range(10)]
    found = weigh(worse, 0.5)
    assert found.worse and (found.canary_votes, found.canary_good, found.users) == (10, 0, 10)
    later = weigh(worse + [Vote("ben", True, True)] * 100, 0.5)
    assert later.e_value >= found.e_value
    assert "0 of 10 votes good, the champion's 10 of 10, e-value" in found.describe()


def test_without_votes_nothing_is_said() -> None:
    found = weigh([], 0.1)
    assert (found.e_value, found.worse, found.canary_votes) == (1.0, False, 0)


def test_votes_all_alike_say_nothing_for_long() -> None:
    """Only bad votes, on both: the canary is no worse."""
    votes = [Vote(str(i), i % 2 == 0, False) for i in range(1000)]
    assert not weigh(votes, 0.5).worse


def of_others(chance: np.random.Generator, share: float) -> list[Vote]:
    """60 votes of 20 people, 70 % of them good on either side."""
    return [
        Vote(f"usr_{n % 20}", chance.random() < share, chance.random() < 0.7) for n in range(60)
    ]


def test_who_sees_the_adapter_seldom_stops_a_canary_alone(chance: np.random.Generator) -> None:
    """Of the votes of one user, all against the canary, three are weighed."""
    against = [Vote("mallory", True, False)] * 50
    runs = [weigh(of_others(chance, 0.2) + against, 0.2) for _ in range(300)]
    assert sum(found.worse for found in runs) <= 0.06 * 300
    assert {found.weighed for found in runs} == {63}
    assert "over the first 3 of each user" in runs[0].describe()


def test_all_votes_count_of_those_whose_word_is_enough() -> None:
    """One person alone at their own machine, too."""
    votes = [Vote("local", n % 2 == 0, n % 2 == 1, "admin") for n in range(20)]
    found = weigh(votes, 0.5)
    assert found.worse and (found.weighed, found.canary_users, found.vouched) == (20, 1, True)
    assert "first" not in found.describe()
