"""What the champion has not learned yet: rows that surprise it, but for the strangest.

A text that users stand for is the more worth, the less likely it is under the champion; of a pick,
the more likely the other draft is beside it; of a text rated down, the likelier it still is. The
strangest NOISE of the texts that users stand for are taken last: Marion et al. 2023 (arXiv
2309.04564) find the examples of highest perplexity to be noise mostly, and those of the middle the
best to train on.
"""

from collections.abc import Sequence

from retrain.rows import Row
from retrain.select import Means
from retrain.select._scores import NEVER, likelihood
from retrain.select._texts import unwanted, wanted

NEEDS_ENGINE = True
NOISE = 0.05


def choose(rows: Sequence[Row], most: int, means: Means) -> list[int]:
    """The indices of at most `most` rows, the one with most to learn from first."""
    worth = []
    for number, row in enumerate(rows):
        worth.append(_worth(row, means))
        means.tick(number + 1, len(rows))
    ranked = sorted(range(len(rows)), key=lambda i: -worth[i])
    known = [i for i in ranked if worth[i] != NEVER]
    strange = known[: int(NOISE * len(known))] if any(map(wanted, rows)) else []
    later = {*strange, *(i for i in ranked if worth[i] == NEVER)}
    return ([i for i in ranked if i not in later] + strange)[: max(0, most)]


def _worth(row: Row, means: Means) -> float:
    good, bad = wanted(row), unwanted(row)
    if not (good or bad):
        return NEVER
    for_good, against = (
        likelihood(means, row["messages"], text) if text else 0.0 for text in (good, bad)
    )
    return NEVER if NEVER in (for_good, against) else against - for_good
