"""About as long as what people prefer: a reward model soon takes length for quality."""

from math import log2

from retrain.trainers.rewards import Answer

FREE = 1.0  # doublings: half as long to twice as long costs nothing


def score(answer: Answer) -> float:
    if not answer.ended:
        return -1.0
    apart = abs(log2(max(len(answer.token_ids), 1) / max(answer.usual, 1)))
    return -min(max(apart - FREE, 0.0), 1.0)
