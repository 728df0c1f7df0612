"""What a run leaves for reviewers: all that it holds back, and a share of what it trains on.

The texts are those of the snapshot, masked: a reviewer sees what would be taught.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from feedback.queue import Item
from feedback.split import is_sampled
from retrain.curate._agreement import Agreement
from retrain.parts import on_reasoning
from retrain.reviews import thing
from retrain.rows import Row, completion, is_train, judged, picked

Held = dict[str, Any]  # {step, reason, row}, as `curate.Curated.quarantine` has them


def queue(kept: Sequence[Row], held: Sequence[Held], share: float) -> Iterator[Item]:
    """The items for reviewers, but for rows that one has looked at: those rest."""
    rows = [*kept, *(one["row"] for one in held)]
    people = _People(rows)
    for one in held:
        if not one["row"].get("review"):
            yield _item(one["row"], one["step"], one["reason"], people)
    for row in kept:
        if is_train(row) and not row.get("review") and is_sampled(row["feedback_id"], share):
            yield _item(row, None, "", people)


class _People:
    """How many users say the same as a row does."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._agreement = Agreement(rows, 2)
        self._same: dict[Any, set[str]] = defaultdict(set)
        for row in rows:
            self._same[_said(row)].add(row["user_id"])

    def count(self, row: Row) -> int:
        if row["kind"] == "correction":
            return self._agreement.people(row)
        return len(self._same[_said(row)])


def _said(row: Row) -> Any:
    """What the row says of what: equal for rows of several users who say the same."""
    about = thing(row) or ("question", row.get("query"), row.get("rewritten_query"))
    if row["kind"] == "comparison":
        pick = picked(row)
        return about, pick[0]["text"] if pick else row["payload"]["chosen"]
    return row["kind"], about, row["payload"].get("value"), row["payload"].get("text")


def _item(row: Row, step: str | None, reason: str, people: _People) -> Item:
    return Item(row["feedback_id"], step, reason, people.count(row), _shown(row))


def _shown(row: Row) -> dict[str, Any]:
    """What would be taught, and in which place; `text` is what a fix begins with."""
    said = row["payload"]
    return {
        "messages": row["messages"],
        "query": row.get("query"),
        "rewritten_query": row.get("rewritten_query"),
        "part": said.get("part"),
        "value": said.get("value"),
        "tags": said.get("tags") or [],
        "comment": said.get("comment") or "",
        "chosen": said.get("chosen"),
        "answers": [_answer(row, c) for c in judged(row)],
        "text": _taught(row),
    }


def _answer(row: Row, c: Row) -> dict[str, Any]:
    return {"id": c["id"], "text": _told(row, c), "adapter": c["adapter"]}


def _told(row: Row, c: Row) -> str:
    """The part of the answer that the row is about."""
    text = c["reasoning"]["text"] if on_reasoning(row) and c["reasoning"] else c["text"]
    return str(text)


def _taught(row: Row) -> str:
    """The user's own text, else the answer that they stand for."""
    if row["kind"] in ("correction", "rewrite"):
        return row["payload"]["text"] or row.get("rewritten_query") or ""
    pick = picked(row)
    about = pick[0] if pick else next(iter(judged(row)), completion(row))
    return _told(row, about) if about else ""
