"""Not the same words over and over: the share of its 4-grams of tokens that were there before."""

from retrain.trainers.rewards import Answer

FREE = 0.2  # people repeat themselves a little


def score(answer: Answer) -> float:
    ids = answer.token_ids
    grams = [tuple(ids[i : i + 4]) for i in range(len(ids) - 3)]
    if not grams:
        return 0.0
    repeated = 1 - len(set(grams)) / len(grams)
    return -max(repeated - FREE, 0.0) / (1 - FREE)
