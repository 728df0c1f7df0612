"""A judge made of held-out comparisons, for answers that nobody has compared yet.

Scoring the logged drafts says little where both were cut off or differ in one visible way: a
candidate that wrote shorter answers to 24 of 30 unseen prompts, as the users wished, preferred the
logged shorter draft in 5 of 12. So candidate and champion write their own answers to the held-out
prompts, and a Bradley-Terry model (Bradley and Terry, 1952) says which of the two the users would
pick: logistic regression, with a ridge, on differences of a few visible features. It is fitted on
the training comparisons and believed only if it foretells the held-out ones, so labels that were
bent for training make a judge that nobody believes; then one is fitted on the held-out comparisons
alone and tried on each by a fit on the others.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
RIDGE = 1.0  # on standardised features: a few comparisons cannot make a weight extreme
# Mean log-loss on held-out comparisons below which a judge is believed; guessing has 0.693. With 12
# of 60 picks by length held out, it passes 99 % of the judges fitted on the rest, none of those
# fitted on flipped labels, and 4 % of those of coin flips (300 random splits each).
BELIEVED = 0.6
UNIT = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")
NAMES = ("length", "lines", "repetition", "cut off")


@dataclass(frozen=True)
class Answer:
    """A text and whether its writer ended it, or a limit did."""

    text: str
    finished: bool = True


Pair = tuple[Answer, Answer]  # the picked one, the other one


@dataclass(frozen=True)
class Judge:
    """Weights of the standardised features; how it did on `n` comparisons left out of its fit."""

    weights: Vector
    scale: Vector
    agreement: float  # share that it called as the users did
    loss: float  # mean log-loss
    n: int

    @property
    def believed(self) -> bool:
        return self.loss <= BELIEVED

    def prefers(self, one: Answer, other: Answer) -> float:
        """The probability that users pick `one` over `other`."""
        odds = self.weights @ ((features(one) - features(other)) / self.scale)
        return float(1 / (1 + np.exp(-odds)))

    def as_dict(self) -> dict[str, object]:
        weights = dict(zip(NAMES, np.round(self.weights, 3).tolist(), strict=True))
        return {
            "believed": self.believed,
            "agreement": round(self.agreement, 3),
            "loss": round(self.loss, 3),
            "comparisons": self.n,
            "weights": weights,
        }


NOBODY = Judge(np.zeros(len(NAMES)), np.ones(len(NAMES)), 0.0, math.log(2), 0)


def features(answer: Answer) -> Vector:
    """What a reader sees of an answer at a glance; see NAMES."""
    units = UNIT.findall(answer.text.lower())
    grams = [tuple(units[i : i + 4]) for i in range(len(units) - 3)]
    return np.array(
        [
            math.log1p(len(units)),
            math.log1p(answer.text.count("\n")),
            1 - len(set(grams)) / len(grams) if grams else 0.0,
            float(not answer.finished),
        ]
    )


def choose_judge(taught: Sequence[Pair], held_out: Sequence[Pair]) -> Judge:
    """The judge for (picked, other) pairs; see above for whether it is believed."""
    fitted = fit_judge(taught, held_out)
    return fitted if fitted.believed else judge_by_leaving_out(held_out)


def fit_judge(taught: Sequence[Pair], held_out: Sequence[Pair]) -> Judge:
    """A judge fitted on `taught` and tried on `held_out`."""
    if not taught or not held_out:
        return NOBODY
    rows = _differences(taught)
    scale = _scale(rows)
    weights = _weights(rows / scale)
    return _tried(weights, scale, _differences(held_out) / scale @ weights)


def judge_by_leaving_out(pairs: Sequence[Pair]) -> Judge:
    """A judge fitted on all pairs, tried on each by a fit on the others."""
    if len(pairs) < 2:
        return NOBODY
    rows = _differences(pairs)
    scale = _scale(rows)
    scaled = rows / scale
    odds = np.array([row @ _weights(np.delete(scaled, i, 0)) for i, row in enumerate(scaled)])
    return _tried(_weights(scaled), scale, odds)


def _tried(weights: Vector, scale: Vector, odds: Vector) -> Judge:
    agreement = float(np.where(np.abs(odds) < 1e-12, 0.5, odds > 0).mean())
    return Judge(weights, scale, agreement, float(np.logaddexp(0, -odds).mean()), len(odds))


def _differences(pairs: Sequence[Pair]) -> Vector:
    return np.array([features(picked) - features(other) for picked, other in pairs])


def _scale(rows: Vector) -> Vector:
    return np.asarray(np.maximum(np.sqrt((rows**2).mean(0)), 1e-9), dtype=np.float64)


def _weights(rows: Vector) -> Vector:
    """Ridge logistic regression of "the first was picked" on differences, by Newton's method."""
    weights = np.zeros(rows.shape[1])
    for _ in range(30):
        picked = 1 / (1 + np.exp(-rows @ weights))
        gradient = rows.T @ (1 - picked) - RIDGE * weights
        curvature = (rows.T * (picked * (1 - picked))) @ rows + RIDGE * np.eye(len(weights))
        weights = weights + np.linalg.solve(curvature, gradient)
    return weights
