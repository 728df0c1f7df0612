"""A better and a worse answer, and what makes the worse one worse.

Only the better one has to be borne out by its source: that the other is not is often its flaw.
"""

from retrain.corpus.asking import texts
from retrain.corpus.kinds._kind import ANSWER, QUESTION, Example, Kind, asked, said
from retrain.corpus.parsing import Item, text_in
from retrain.corpus.stage import Row

FLAW = 200  # characters
OURS = {"question": "question", "answer": "better", "rejected": "worse", "flaw": "flaw"}


def fit(item: Item) -> Item:
    return {ours: text_in(item, key, "pair without a text") for ours, key in OURS.items()}


def amiss(row: Row) -> str | None:
    better, worse = (" ".join(row[key].casefold().split()) for key in ("answer", "rejected"))
    return "its two answers are the same" if better == worse else None


def examples(row: Row, system: str) -> dict[str, list[Example]]:
    prompt, sides = asked(row["question"], system), (row["answer"], row["rejected"])
    chosen, rejected = map(said, sides)
    return {
        "preference": [{"prompt": prompt, "chosen": chosen, "rejected": rejected}],
        "kto": [
            {"prompt": prompt, "completion": chosen, "label": True},
            {"prompt": prompt, "completion": rejected, "label": False},
        ],
    }


KIND = Kind(
    items="pairs",
    item=texts(question=QUESTION, better=ANSWER, worse=ANSWER, flaw=FLAW),
    tokens=800,
    fit=fit,
    teaches=("preference", "kto"),
    texts=("question", "answer", "rejected", "flaw"),
    amiss=amiss,
    examples=examples,
)
