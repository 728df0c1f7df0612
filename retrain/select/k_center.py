"""K-center-greedy: rows that cover the others (Sener and Savarese 2018, arXiv 1708.00489).

Each further row is the one farthest from all that were chosen, so questions that are asked often
do not push rare ones out. The distance is of the terms of question and text, weighted by rarity
(TF-IDF) and hashed to WIDTH numbers with signs (Weinberger et al. 2009, arXiv 0902.2206). No model
is asked: what its hidden states find near is measured in `retrain.curate.near_duplicates`.
"""

from collections import Counter
from collections.abc import Sequence
from math import log
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from retrain.rows import Row
from retrain.select import Means
from retrain.select._texts import question, unwanted, wanted
from retrain.terms import terms

NEEDS_ENGINE = False
WIDTH = 512

Vectors = NDArray[np.float32]


def choose(rows: Sequence[Row], most: int, means: Means) -> list[int]:
    """The indices of at most `most` rows, in the order in which they were found farthest."""
    if most <= 0 or not rows:
        return []
    found = vectors([f"{question(r)}\n{wanted(r) or unwanted(r)}" for r in rows])
    chosen = [int((found @ found.mean(0)).argmax())]  # the most central one
    far = 1 - found @ found[chosen[0]]
    while len(chosen) < min(most, len(rows)):
        far[chosen[-1]] = -np.inf
        chosen.append(int(far.argmax()))
        far = np.minimum(far, 1 - found @ found[chosen[-1]])
        means.tick(len(chosen), most)
    return chosen


def vectors(texts: Sequence[str]) -> Vectors:
    """A row of length one for each text; their product is how alike they are."""
    sets = [terms(text) for text in texts]
    owners = Counter(term for one in sets for term in one)
    found = np.zeros((len(texts), WIDTH), dtype=np.float32)
    for row, one in zip(found, sets, strict=True):
        for term in one:
            place = crc32(term.encode())
            row[place % WIDTH] += (1 if place & 1 << 31 else -1) * log(
                1 + len(texts) / owners[term]
            )
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / np.maximum(lengths, 1e-9), dtype=np.float32)
