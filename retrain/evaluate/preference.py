"""Does a model prefer what users preferred, and would it without knowing how long the texts are?

A model is said to prefer the text that it gives the higher log-probability per token. Accuracy is
the share of pairs in which that is the one that users stood for. Where users like shorter texts, a
model that merely likes short ones has a high accuracy and has learned nothing else; so beside it
stands the *length-controlled* accuracy, the mean of two: over the pairs in which the users' text
is the shorter one, and over those in which it is the longer one. A liking for length alone has 0.5
there, whatever the users do. (AlpacaEval's length control, Dubois et al. 2024, arXiv 2404.04475,
fits a regression for the same end; with a few dozen pairs the two means are steadier.) Where all
pairs are of one kind, length and quality cannot be told apart, and there is no such number.

For ratings the pairs are all those of a text rated up and one rated down, so the accuracy is the
area under the ROC curve (Hanley and McNeil, 1982). For corrections, which have no other side,
the likelihood of what users wrote is told as it is.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import product
from statistics import fmean
from typing import Any

from retrain.evaluate.items import RATINGS
from retrain.evaluate.measure import Scored, Scores

SIDES = ("candidate", "champion")
Pair = tuple[Scores, Scores, float]  # the users' text, the other one, a weight


def summarise(scored: Sequence[Scored]) -> dict[str, Any]:
    """By kind of feedback: {items, candidate, champion} with the numbers of each."""
    found: dict[str, Any] = {}
    for kind in sorted({item.kind for item in scored}):
        items = [item for item in scored if item.kind == kind]
        found[kind] = {"items": len(items), **_numbers(kind, items)}
    return found


def _numbers(kind: str, items: Sequence[Scored]) -> dict[str, Any]:
    if kind == "comparison":
        return _agreement([(g, b, 1 / len(i.bad)) for i in items for g in i.good for b in i.bad])
    if kind in RATINGS:
        up = [text for item in items for text in item.good]
        down = [text for item in items for text in item.bad]
        return _agreement([(one, other, 1.0) for one, other in product(up, down)])
    return {side: {"per_token": round(_likelihood(items, side), 4)} for side in SIDES}


def _agreement(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Accuracies of both, and how many pairs there are by which text is the longer one."""
    lengths = Counter(_longer(pair) for pair in pairs)
    counted = {"shorter": lengths[-1], "longer": lengths[1], "as_long": lengths[0]}
    return {"pairs": len(pairs), "preferred_is": counted} | {
        side: {
            "accuracy": _accuracy(pairs, side),
            "controlled": _controlled(pairs, side),
        }
        for side in SIDES
    }


def _controlled(pairs: Sequence[Pair], side: str) -> float | None:
    """The mean of the accuracies where the users' text is the shorter and the longer one."""
    apart = [[pair for pair in pairs if _longer(pair) == way] for way in (-1, 1)]
    if not all(apart):
        return None
    return round(fmean(_accuracy(some, side) or 0.0 for some in apart), 4)


def _accuracy(pairs: Sequence[Pair], side: str) -> float | None:
    """The weighted share of pairs in which the users' text is the likelier one; a tie is half."""
    if not pairs:
        return None
    right = sum(weight * _called(one, other, side) for one, other, weight in pairs)
    return round(right / sum(weight for _, _, weight in pairs), 4)


def _called(one: Scores, other: Scores, side: str) -> float:
    gap = _per_token(one, side) - _per_token(other, side)
    return 0.5 if abs(gap) < 1e-9 else float(gap > 0)


def _longer(pair: Pair) -> int:
    """1 where the users' text is the longer one, -1 where it is the shorter one."""
    one, other, _ = pair
    return (one.tokens > other.tokens) - (one.tokens < other.tokens)


def _likelihood(items: Iterable[Scored], side: str) -> float:
    return fmean(_per_token(text, side) for item in items for text in item.good)


def _per_token(text: Scores, side: str) -> float:
    return float(getattr(text, side)) / text.tokens
