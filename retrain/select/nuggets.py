"""Nuggets: examples that help to do other tasks (Li et al. 2023, arXiv 2312.10302).

An example's golden score is the share of tasks whose right answer becomes likelier under the
champion when the example stands before it as the one shot, against none. The tasks are TASKS of
the rows themselves, chosen by k-center-greedy to cover them; no example is its own task. A text
rated down is the more worth, the less it helps.

It takes TASKS passes of the model for each row: an hour for some thousand on two cores.
"""

from collections.abc import Sequence

from retrain.rows import Row
from retrain.select import Means, k_center
from retrain.select._scores import NEVER, likelihood
from retrain.select._texts import question, unwanted, wanted

NEEDS_ENGINE = True
TASKS = 12


def choose(rows: Sequence[Row], most: int, means: Means) -> list[int]:
    """The indices of at most `most` rows, the highest golden score first."""
    usable = [i for i, row in enumerate(rows) if wanted(row) or unwanted(row)]
    places = k_center.choose([rows[i] for i in usable], TASKS, Means())
    tasks = [usable[place] for place in places]
    alone = {i: likelihood(means, _asked(rows[i]), _text(rows[i])) for i in tasks}
    scores = {}
    for number, i in enumerate(usable):
        scores[i] = _golden(rows, i, alone, means)
        means.tick(number + 1, len(usable))
    return sorted(usable, key=lambda i: -scores[i])[: max(0, most)]


def _golden(rows: Sequence[Row], shot: int, alone: dict[int, float], means: Means) -> float:
    """The share of the other tasks that the shot helps; turned round for a text rated down."""
    others = [i for i in alone if i != shot and alone[i] != NEVER]
    before = [*_asked(rows[shot]), {"role": "assistant", "content": _text(rows[shot])}]
    helped = sum(
        likelihood(means, [*before, *_asked(rows[i])], _text(rows[i])) > alone[i] for i in others
    )
    share = helped / len(others) if others else 0.0
    return share if wanted(rows[shot]) else 1 - share


def _text(row: Row) -> str:
    return wanted(row) or unwanted(row)


def _asked(row: Row) -> list[dict[str, str]]:
    return [{"role": "user", "content": question(row)}]
