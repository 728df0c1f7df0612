"""Follow-ups and how they are said standalone, as `redraft retrain rewriter` reads them.

The standalone form has to be borne out by the conversation, whose answers have to be by the source.
"""

from collections.abc import Iterable

from prompts.answer_first import DELIMITER
from retrain.corpus.asking import closed, text
from retrain.corpus.kinds._kind import (
    QUESTION,
    Claim,
    Example,
    Kind,
    exchanges,
    turns_in,
    turns_schema,
)
from retrain.corpus.parsing import Item, Malformed, text_in
from retrain.corpus.stage import Row

LEAST, MOST = 1, 2  # turns before the follow-up
SOURCE = "corpus"  # what ids open with, by which the rewriter tells sources apart


def fit(item: Item) -> Item:
    history = turns_in(item, "history", "history whose roles do not take turns")
    query, rewrite = (
        text_in(item, key, "follow-up without a text") for key in ("query", "rewrite")
    )
    if DELIMITER in rewrite:  # where serving cuts
        raise Malformed("rewrite that holds the delimiter")
    return {"question": query, "answer": rewrite, "history": history}


def claims(row: Row, content: str | None) -> Iterable[Claim]:
    yield from exchanges(row["history"], content)
    told = [message["content"] for message in row["history"]]
    yield Claim(row["question"], row["answer"], "\n".join([*told, row["question"]]))


def amiss(row: Row) -> str | None:
    query, rewrite = (row[key].strip().casefold() for key in ("question", "answer"))
    return "its rewrite changes nothing" if query == rewrite else None


def examples(row: Row, system: str) -> dict[str, list[Example]]:
    """Ids tell the rewriter that all about a unit are learned together or measured together."""
    place = int(row["id"].removeprefix("q-")[:8], 16)
    name = f"{SOURCE}-{row['unit'].removeprefix('u-')}_{place}"
    told = {"history": row["history"], "query": row["question"], "rewrite": row["answer"]}
    return {"rewriter": [{"id": name, **told}]}


KIND = Kind(
    items="follow_ups",
    item=closed(
        {
            "history": turns_schema(LEAST, MOST),
            "query": text(QUESTION),
            "rewrite": text(QUESTION),
        }
    ),
    tokens=700,
    fit=fit,
    teaches=("rewriter",),
    texts=("question", "answer", "history"),
    asks=lambda row: str(row["answer"]),
    claims=claims,
    amiss=amiss,
    examples=examples,
)
