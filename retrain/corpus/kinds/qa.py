"""Questions and their answers (Self-QA: Zhang and Yang 2023, arXiv 2305.11952)."""

from retrain.corpus.asking import texts
from retrain.corpus.kinds._kind import ANSWER, QUESTION, Kind
from retrain.corpus.parsing import Item, text_in


def fit(item: Item) -> Item:
    return {key: text_in(item, key, "pair without a text") for key in ("question", "answer")}


KIND = Kind(items="pairs", item=texts(question=QUESTION, answer=ANSWER), tokens=400, fit=fit)
