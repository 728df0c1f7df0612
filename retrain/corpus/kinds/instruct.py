"""Instructions like those of a list of seeds, with their answers (see `retrain.corpus.instruct`).

They are about no unit, so nothing can bear them out: `check` looks at their form alone.
"""

from collections.abc import Iterable

from retrain.corpus.asking import texts
from retrain.corpus.kinds._kind import Claim, Kind
from retrain.corpus.parsing import Item, text_in
from retrain.corpus.stage import Row

INSTRUCTION, OUTPUT = 400, 1200  # characters, at most, where a schema is held to


def fit(item: Item) -> Item:
    ours = {"question": "instruction", "answer": "output"}
    return {name: text_in(item, key, "instruction without a text") for name, key in ours.items()}


def claims(row: Row, content: str | None) -> Iterable[Claim]:
    return [Claim(row["question"], row["answer"], None)]


KIND = Kind(
    items="tasks",
    item=texts(instruction=INSTRUCTION, output=OUTPUT),
    tokens=600,
    fit=fit,
    most=5,
    claims=claims,
    seeded=True,
)
