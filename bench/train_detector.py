"""Train the detector of questions that need rewriting, and print what it catches and skips.

    python bench/train_detector.py DATA.jsonl… [--out serve/turn/rewriting/detector.json]

DATA holds rows of {id, history, query, rewrite}. Logistic regression on the features of
`serve/turn/rewriting/features.py`, by Newton's method in plain numpy. The threshold is the highest
that catches 98 % of the rewritten training rows in cross-validation by conversation; a held-out
tenth (split by conversation, the same that the rewriter is measured on) says how that carries over.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retrain.rewriter_rows import dialogue_of, source_of, split
from serve.turn.rewriting.features import features

HELD_OUT, CAUGHT, RARE, FOLDS = 0.1, 0.98, 12, 5
Row = Mapping[str, Any]


def changed(row: Row) -> bool:
    return bool(row["rewrite"].strip() != row["query"].strip())


class Regression:
    """Weights per feature name; `score` is the probability that a person would rewrite."""

    def __init__(self, rows: Sequence[Row], ridge: float) -> None:
        found = [features(row["history"], row["query"]) for row in rows]
        seen = Counter(name for one in found for name in one)
        self.names = {n: i for i, n in enumerate(sorted(n for n in seen if seen[n] >= RARE), 1)}
        inputs, labels = self._matrix(found), np.array([float(changed(row)) for row in rows])
        self.weights = newton(inputs, labels, balance(rows), ridge)

    def _matrix(self, found: Sequence[dict[str, float]]) -> np.ndarray:
        matrix = np.zeros((len(found), len(self.names) + 1))
        matrix[:, 0] = 1.0
        for line, one in zip(matrix, found, strict=True):
            for name, value in one.items():
                if name in self.names:
                    line[self.names[name]] = value
        return matrix

    def score(self, rows: Sequence[Row]) -> np.ndarray:
        found = [features(row["history"], row["query"]) for row in rows]
        odds: np.ndarray = np.exp(-self._matrix(found) @ self.weights)
        return 1 / (1 + odds)


def balance(rows: Sequence[Row]) -> np.ndarray:
    """Row weights: unchanged rows count as much as rewritten ones in all."""
    labels = np.array([changed(row) for row in rows])
    return np.where(labels, 1.0, labels.sum() / max((~labels).sum(), 1))


def newton(inputs: np.ndarray, labels: np.ndarray, counts: np.ndarray, ridge: float) -> np.ndarray:
    """Weights of the ridge-penalised maximum likelihood; the first column is the intercept."""
    weights = np.zeros(inputs.shape[1])
    penalty = np.full(inputs.shape[1], ridge)
    penalty[0] = 1e-6
    for _ in range(12):
        p = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (counts * (p - labels)) + penalty * weights
        curve = (inputs * (counts * p * (1 - p))[:, None]).T @ inputs + np.diag(penalty)
        weights -= np.linalg.solve(curve, slope)
    return weights


def unseen_scores(rows: Sequence[Row], ridge: float) -> np.ndarray:
    """Every row's score by a regression that has not seen its conversation."""
    dialogues = sorted({dialogue_of(row) for row in rows})
    fold_of = {name: i % FOLDS for i, name in enumerate(dialogues)}
    folds = np.array([fold_of[dialogue_of(row)] for row in rows])
    scores = np.zeros(len(rows))
    for fold in range(FOLDS):
        fitted = Regression([r for r, f in zip(rows, folds, strict=True) if f != fold], ridge)
        scores[folds == fold] = fitted.score(
            [r for r, f in zip(rows, folds, strict=True) if f == fold]
        )
    return scores


def report(rows: Sequence[Row], scores: np.ndarray, threshold: float) -> None:
    print("| source | rewritten | caught | left alone | skipped |\n| --- | --- | --- | --- | --- |")
    for source in [*sorted({source_of(row) for row in rows}), "all"]:
        own = [i for i, row in enumerate(rows) if source in (source_of(row), "all")]
        yes = [scores[i] >= threshold for i in own if changed(rows[i])]
        no = [scores[i] < threshold for i in own if not changed(rows[i])]
        print(f"| {source} | {len(yes)} | {share(yes)} | {len(no)} | {share(no)} |")


def share(hits: Sequence[Any]) -> str:
    return f"{np.mean(hits):.3f}" if hits else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--ridge", type=float, default=6.0)
    given = parser.parse_args()
    rows = [json.loads(line) for file in given.data for line in file.open(encoding="utf-8")]
    train, held = split(rows, HELD_OUT)
    scores = unseen_scores(train, given.ridge)
    wanted = sorted(s for s, row in zip(scores, train, strict=True) if changed(row))
    threshold = float(wanted[int(len(wanted) * (1 - CAUGHT))])
    print(f"cross-validated, threshold {threshold:.3f}")
    report(train, scores, threshold)
    fitted = Regression(train, given.ridge)
    print("held out")
    report(held, fitted.score(held), threshold)
    started = time.perf_counter()
    for row in held:
        features(row["history"], row["query"])
    print(f"features: {(time.perf_counter() - started) / len(held) * 1000:.2f} ms a question")
    if given.out:
        write(given.out, fitted, threshold)


def write(out: Path, fitted: Regression, threshold: float) -> None:
    weights = {name: round(float(fitted.weights[i]), 3) for name, i in fitted.names.items()}
    kept = {name: weight for name, weight in weights.items() if abs(weight) >= 0.01}
    model = {"bias": round(float(fitted.weights[0]), 4), "threshold": round(threshold, 4)}
    out.write_text(json.dumps(model | {"weights": kept}, indent=0, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
