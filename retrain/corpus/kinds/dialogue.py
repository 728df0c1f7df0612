"""Conversations of several turns, whose later questions lean on what was said before.

Each answer is an example, so that all of them are learned; forms that hold a whole conversation
take the last one, which has the others before it.
"""

from collections.abc import Iterable

from retrain.corpus.asking import closed
from retrain.corpus.kinds._kind import (
    Claim,
    Example,
    Kind,
    asked,
    exchanges,
    turns_in,
    turns_schema,
)
from retrain.corpus.parsing import Item, Malformed
from retrain.corpus.stage import Row

LEAST, MOST = 2, 4  # turns


def fit(item: Item) -> Item:
    key = "turns" if "turns" in item else "messages"
    said = turns_in(item, key, "dialogue whose roles do not take turns")
    if len(said) < 2 * LEAST:
        raise Malformed("dialogue of a single turn")
    return {"question": said[0]["content"], "answer": said[-1]["content"], "messages": said}


def claims(row: Row, content: str | None) -> Iterable[Claim]:
    return exchanges(row["messages"], content)


def examples(row: Row, system: str) -> dict[str, list[Example]]:
    told = row["messages"]
    before = asked(told[0]["content"], system)
    return {
        "sft": [
            {"prompt": [*before, *told[1:at]], "completion": [told[at]]}
            for at in range(1, len(told), 2)
        ]
    }


KIND = Kind(
    items="dialogues",
    item=closed({"turns": turns_schema(LEAST, MOST)}),
    tokens=1200,
    fit=fit,
    texts=("question", "answer", "messages"),
    most=1,
    asks=lambda row: "\n".join(message["content"] for message in row["messages"][::2]),
    claims=claims,
    examples=examples,
)
