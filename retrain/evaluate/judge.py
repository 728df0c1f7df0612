"""A judge made of comparisons, or of thumbs, for answers that nobody has judged yet.

Scoring the logged drafts says little where both were cut off or differ in one visible way: a
candidate that wrote shorter answers to 24 of 30 unseen prompts, as the users wished, preferred the
logged shorter draft in 5 of 12. So candidate and champion write their own answers to the held-out
prompts, and a Bradley-Terry model (Bradley and Terry, 1952) says which of the two the users would
pick: logistic regression, with a ridge, on differences of a few visible features. It is fitted on
the training comparisons and believed only if it foretells the held-out ones, so labels that were
bent for training make a judge that nobody believes; then, of enough of them, one is fitted on the
held-out comparisons alone and tried on each by a fit on the others.

How often one is believed, in percent, by the number of held-out comparisons of two drafts, with
four times as many to train on (300 simulated runs each; log-normal lengths, and lines, repetition
and cut-off ends beside them; wrong picks are turned round):

|                     | 5  | 8  | 12  | 16  | 20  | 30  | 40  |
| ------------------- | -- | -- | --- | --- | --- | --- | --- |
| coin flips, first   | 3  | 3  | 3   | 4   | 3   | 0   | 0   |
| coin flips, second  | –  | –  | –   | –   | 2   | 2   | 2   |
| the shorter         | 82 | 99 | 100 | 100 | 100 | 100 | 100 |
| the same, 10 % off  | 44 | 71 | 90  | 93  | 98  | 97  | 99  |
| the same, 20 % off  | 27 | 38 | 60  | 66  | 73  | 75  | 76  |

Of groups of drafts each comparison says more: coin flips in 8 to 14 of three or four drafts make a
judge on themselves that is believed in 0 to 3 % of the runs, so it is their pairs of drafts that
have to be enough for one. With as few to train on as are held out, up to 5 % of coin flips are
believed. What is believed of coin flips is as often one direction as the other.

A thumb up and a thumb down are a comparison too, of answers to two prompts: each of the rarer side
is compared with all of the other, and they count once together, so that both sides have equal say.
There is no second judge of thumbs, as all trials on the held-out ones would hang together. How
often one is believed, in percent, by the number of held-out thumbs, of which four in ten are up,
with four times as many to train on (200 simulated runs each, as above):

|                       | 8  | 12 | 16 | 20  | 30  | 48  |
| --------------------- | -- | -- | -- | --- | --- | --- |
| coin flips            | 0  | 1  | 2  | 1   | 2   | 2   |
| up for the short ones | 61 | 89 | 98 | 100 | 100 | 100 |
| the same, 15 % wrong  | 22 | 44 | 72 | 83  | 97  | 100 |
| the same, bent before | 0  | 0  | 0  | 0   | 0   | 0   |

In the last row those to train on were turned round. Where each pair counts as one, and what is rare
has no bound (one answer of a hundred loops), a single thumb took the log-loss from 0.8 to 4.2.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feedback.shares import wilson

Vector = NDArray[np.float64]
RIDGE = 1.0  # on standardised features: a few comparisons cannot make a weight extreme
MOST = 3.0  # standardised difference: one answer that loops would decide everything
GUESSING = math.log(2)  # its log-loss
# Some judgments are the other way round whatever is shown (lapses: Wichmann and Hill, 2001). If the
# model has none, one wrong pick of a draft five times as long outweighs ten right ones.
WRONG = 0.1
# Mean log-loss on held-out comparisons up to which a judge is believed. Of a few that alone says
# little, so the picks must be so many times as likely under the judge as under guessing besides.
BELIEVED = 0.63
BELIEVED_ALONE = 0.6  # of one that is tried on comparisons of those that it is fitted on
LIKELIER = 3
ROUNDS = 10  # of expectation and maximisation
# Pairs of drafts for one that is tried on those it is fitted on: its trials hang together, and the
# loss alone passes 26 % of coin flips at 5 comparisons of two drafts, 14 % at 12 and 8 % at 20.
ALONE = 20
UNIT = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")
NAMES = ("length", "lines", "repetition", "cut off")


@dataclass(frozen=True)
class Answer:
    """A text and whether its writer ended it, or a limit did."""

    text: str
    finished: bool = True


Pair = tuple[Answer, Answer]  # the picked one, the other one
Comparison = Sequence[Pair]  # the picked one with each of the others


@dataclass(frozen=True)
class Judge:
    """Weights of the standardised features; how it did on `n` comparisons left out of its fit,
    which are `pairs` pairs of answers."""

    weights: Vector
    scale: Vector
    agreement: float  # share that it called as the users did
    loss: float  # mean log-loss
    n: int
    pairs: int  # of drafts, or of a thumb up and one down
    alone: bool = False  # tried on comparisons of those that it was fitted on

    @property
    def believed(self) -> bool:
        if not self.n or self.loss > GUESSING - math.log(LIKELIER) / self.n:
            return False
        if not self.alone:
            return self.loss <= BELIEVED
        surely = wilson(self.agreement * self.n, self.n)[0] > 0.5
        return self.loss <= BELIEVED_ALONE and self.pairs >= ALONE and surely

    def prefers(self, one: Answer, other: Answer) -> float:
        """The probability that users pick `one` over `other`."""
        return float(_chance(_standard(features(one) - features(other), self.scale) @ self.weights))

    def as_dict(self) -> dict[str, object]:
        weights = dict(zip(NAMES, np.round(self.weights, 3).tolist(), strict=True))
        return {
            "believed": self.believed,
            "agreement": round(self.agreement, 3),
            "loss": round(self.loss, 3),
            "comparisons": self.n,
            "weights": weights,
        }


NOBODY = Judge(np.zeros(len(NAMES)), np.ones(len(NAMES)), 0.0, GUESSING, 0, 0)


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


def choose_judge(taught: Sequence[Comparison], held_out: Sequence[Comparison]) -> Judge:
    """The judge that the comparisons make; see above for whether it is believed."""
    fitted = fit_judge(taught, held_out)
    return fitted if fitted.believed else judge_by_leaving_out(held_out)


def opposed(up: Sequence[Answer], down: Sequence[Answer]) -> list[Comparison]:
    """Comparisons of the answers that were rated up with those rated down; one for each of the
    rarer side."""
    if len(up) <= len(down):
        return [[(one, other) for other in down] for one in up] if down else []
    return [[(one, other) for one in up] for other in down]


def fit_judge(
    taught: Sequence[Comparison], held_out: Sequence[Comparison], once: bool = False
) -> Judge:
    """A judge fitted on `taught` and tried on `held_out`.

    With `once` the pairs of a comparison together weigh as much as one pair, as where they share
    answers with other comparisons' (`opposed`).
    """
    if not taught or not held_out:
        return NOBODY
    apart = [_differences(comparison) for comparison in taught]
    rows = np.concatenate(apart)
    scale = _scale(rows)
    share = [np.full(len(one), 1 / len(one) if once else 1.0) for one in apart]
    weights = _weights(_standard(rows, scale), np.concatenate(share))
    odds = [_standard(_differences(comparison), scale) @ weights for comparison in held_out]
    return Judge(weights, scale, *_tried(odds))


def judge_by_leaving_out(comparisons: Sequence[Comparison]) -> Judge:
    """A judge fitted on all comparisons, tried on each by a fit on the others.

    The pairs of one comparison share its picked draft: a fit on one of them knows the next.
    """
    if len(comparisons) < 2:
        return NOBODY
    apart = [_differences(comparison) for comparison in comparisons]
    scale = _scale(np.concatenate(apart))
    scaled = [_standard(rows, scale) for rows in apart]
    others = (np.concatenate(scaled[:i] + scaled[i + 1 :]) for i in range(len(scaled)))
    odds = [rows @ _weights(rest) for rows, rest in zip(scaled, others, strict=True)]
    return Judge(_weights(np.concatenate(scaled)), scale, *_tried(odds), alone=True)


def _tried(odds: Sequence[Vector]) -> tuple[float, float, int, int]:
    """(agreement, loss, comparisons, pairs), from the odds of each one's pairs: it counts once."""
    agreed = [np.where(np.abs(one) < 1e-12, 0.5, one > 0).mean() for one in odds]
    loss = [-np.log(_chance(one)).mean() for one in odds]
    return float(np.mean(agreed)), float(np.mean(loss)), len(odds), sum(map(len, odds))


def _differences(comparison: Comparison) -> Vector:
    return np.array([features(picked) - features(other) for picked, other in comparison])


def _scale(rows: Vector) -> Vector:
    return np.asarray(np.maximum(np.sqrt((rows**2).mean(0)), 1e-9), dtype=np.float64)


def _standard(differences: Vector, scale: Vector) -> Vector:
    return np.clip(differences / scale, -MOST, MOST)


def _chance(odds: Vector) -> Vector:
    """The probability of a pick, that some are wrong included."""
    return WRONG + (1 - 2 * WRONG) / (1 + np.exp(-odds))


def _weights(rows: Vector, share: Vector | None = None) -> Vector:
    """Ridge logistic regression of "the first was picked" on differences, some picks being wrong.

    `share` is how much each row counts, 1 when absent. By expectation and maximisation: a row
    counts by how likely it is that its pick was no lapse.
    """
    counts = np.ones(len(rows)) if share is None else share
    weights = _regression(rows, counts)
    for _ in range(ROUNDS):
        meant = 1 - WRONG / _chance(rows @ weights)
        weights = _regression(rows, counts * meant)
    return weights


def _regression(rows: Vector, counts: Vector) -> Vector:
    """By Newton's method."""
    weights = np.zeros(rows.shape[1])
    for _ in range(30):
        picked = 1 / (1 + np.exp(-rows @ weights))
        gradient = rows.T @ (counts * (1 - picked)) - RIDGE * weights
        curvature = (rows.T * (counts * picked * (1 - picked))) @ rows
        curvature += RIDGE * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        weights = weights + step
        if np.abs(step).max() < 1e-9:
            break
    return weights
