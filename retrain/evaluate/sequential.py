"""Is the canary worse than the champion? A test that may be looked at after every vote.

Conversations are given to the canary by a coin of known bias, its `share`, so a vote that has
nothing to do with the adapter says nothing about the coin. The test bets against that: with A = 1
on the canary and y = 1 for a good vote, a capital of 1 is multiplied at each vote by

    p_arm(y) / p_pooled(y) = 1 - d (A - share) (y - t) / (t (1 - t)),

where t is the rate of good votes so far and d the gap between the arms that is bet on: Turner, Ly
and Grünwald 2024 (arXiv 2106.02693: the alternative over the mean of the arms, weighted by their
sizes), a vote at a time. If the arms are alike, A is share on average whatever y, t and d
are, so the capital is a martingale, and the chance that it ever reaches 1 / alpha is at most alpha
(Ville 1939). A canary that is better makes it shrink. The gap is not known: the capital is spread
over several (a mixture of martingales is one), as Waudby-Smith and Ramdas 2024 do.

Nothing is assumed of the votes, so users may differ, vote often, and change with the time of day.
What is needed is that each toss of the coin counts once: votes of one conversation share its toss;
and that who votes does not know how it fell. An answer names its adapter, so who looks can vote
down the canary alone. That no test can tell from a bad canary: so of each user the first MOST votes
are weighed, which depends on earlier votes only. Of a reviewer or an admin all are, whose word is
enough elsewhere too: one person alone at their own machine decides as before.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedback.votes import Vote
from retrain.rows import TRUSTED

# The most canaries, of those as good as the champion, that are ever stopped: below the 5 % that is
# promised, so that a count over 1,000 simulated ones is, too.
ALPHA = 0.04
GAPS = (0.05, 0.1, 0.2, 0.4)
BOLDEST = 0.9  # of the bet that could lose all
MOST = 3  # votes of a user that are weighed

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """What the votes say; `e_value` is the largest that the capital of those weighed ever was."""

    canary_votes: int
    canary_good: int
    champion_votes: int
    champion_good: int
    users: int
    canary_users: int
    vouched: bool  # whether somebody whose word is enough voted on the canary
    weighed: int
    e_value: float

    @property
    def worse(self) -> bool:
        return self.e_value >= 1 / ALPHA

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def describe(self) -> str:
        """The numbers in one clause."""
        votes = self.canary_votes + self.champion_votes
        of = f" over the first {MOST} of each user" if self.weighed < votes else ""
        return (
            f"{self.canary_good} of {self.canary_votes} votes good, the champion's "
            f"{self.champion_good} of {self.champion_votes}, e-value {self.e_value:.3g}{of} "
            f"({1 / ALPHA:g} stops it)"
        )


def weigh(votes: Sequence[Vote], share: float) -> Evidence:
    """The evidence after the votes, one a conversation in order of arrival."""
    sides = {side: [vote for vote in votes if vote.on_canary is side] for side in (True, False)}
    weighed = list(_first_of_each(votes))
    good = np.array([vote.good for vote in weighed], dtype=np.float64)
    on_canary = np.array([vote.on_canary for vote in weighed], dtype=bool)
    capital = np.exp(log_capital(good, on_canary, share))
    return Evidence(
        canary_votes=len(sides[True]),
        canary_good=sum(vote.good for vote in sides[True]),
        champion_votes=len(sides[False]),
        champion_good=sum(vote.good for vote in sides[False]),
        users=len({vote.user_id for vote in votes}),
        canary_users=len({vote.user_id for vote in sides[True]}),
        vouched=any(vote.role in TRUSTED for vote in sides[True]),
        weighed=len(weighed),
        e_value=float(capital.max(initial=1.0)),
    )


def _first_of_each(votes: Iterable[Vote]) -> Iterator[Vote]:
    """The votes that are weighed, in order."""
    given: Counter[str] = Counter()
    for vote in votes:
        given[vote.user_id] += 1
        if given[vote.user_id] <= MOST or vote.role in TRUSTED:
            yield vote


def log_capital(good: Floats, on_canary: NDArray[np.bool_], share: float) -> Floats:
    """The log of the capital after each vote, along the last axis."""
    before = np.cumsum(good, axis=-1) - good
    rate = (before + 1) / (np.arange(good.shape[-1]) + 2)  # of earlier votes: bet, then look
    most = BOLDEST * np.minimum(rate / (1 - share), (1 - rate) / share)
    surprise = (on_canary - share) * (good - rate) / (rate * (1 - rate))
    paths = [np.cumsum(np.log1p(-np.minimum(gap, most) * surprise), axis=-1) for gap in GAPS]
    return np.asarray(np.logaddexp.reduce(paths, axis=0) - np.log(len(GAPS)))
