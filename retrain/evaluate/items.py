"""Held-out feedback as items: a prompt, the text that users stood for, the texts they did not.

A correction has only `good`, a comparison both, a rating one of the two. What many users said alike
about one prompt is one item, so that it counts once and is scored once.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from retrain.rows import Row, completion, picked

MOST = 200


@dataclass(frozen=True)
class Passage:
    """A text to score; `token_ids` are the logged ones, end of turn included, if there are any."""

    text: str
    token_ids: tuple[int, ...] = ()
    finished: bool = True  # by its writer, not by a limit


@dataclass(frozen=True)
class Item:
    """One thing that held-out feedback says."""

    kind: str  # correction, comparison, rating
    messages: tuple[dict[str, Any], ...]
    good: tuple[Passage, ...] = ()
    bad: tuple[Passage, ...] = ()
    max_tokens: int = 0  # of the drafts that were compared

    @property
    def key(self) -> str:
        """A digest of what the item says, the same in every run."""
        said = repr((self.kind, self.messages, [*map(_text, self.good)], [*map(_text, self.bad)]))
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def held_out_items(rows: Sequence[Row], most: int = MOST) -> list[Item]:
    """The distinct items of the held-out rows; of more than `most` a stable choice.

    Ratings are left out unless there are thumbs of both directions: with one alone, a candidate
    that writes everything more readily would look better.
    """
    found: dict[str, Item] = {}
    for row in rows:
        if row["split"] == "heldout" and (item := _item(row)):
            found.setdefault(item.key, item)
    items = [found[key] for key in sorted(found)][:most]
    ratings = [item for item in items if item.kind == "rating"]
    if len({bool(item.good) for item in ratings}) < 2:
        items = [item for item in items if item.kind != "rating"]
    return items


def taught_comparisons(rows: Sequence[Row]) -> list[Item]:
    """The decided comparisons of the training rows."""
    train = [row for row in rows if row["split"] == "train" and row["kind"] == "comparison"]
    return [item for item in map(_item, train) if item]


def count_by_kind(items: Iterable[Item]) -> dict[str, int]:
    """How many items there are of each kind."""
    kinds = [item.kind for item in items]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def _item(row: Row) -> Item | None:
    messages = tuple(row["messages"])
    if row["kind"] == "correction":
        return Item("correction", messages, (Passage(row["payload"]["text"]),))
    if row["kind"] == "comparison":
        pick = picked(row)
        if pick is None:
            return None
        good, bad = (_passage(pick[0]),), tuple(map(_passage, pick[1]))
        limit = int(pick[0]["sampling"].get("max_tokens", 0))
        return Item("comparison", messages, good, bad, limit)
    rated = completion(row) if row["kind"] == "rating" else None
    if rated is None or not rated["text"]:
        return None
    passage = (_passage(rated),)
    if row["payload"]["value"] > 0:
        return Item("rating", messages, good=passage)
    return Item("rating", messages, bad=passage)


def _passage(c: Row) -> Passage:
    return Passage(c["text"], tuple(c["token_ids"] or ()), c["finish_reason"] == "stop")


def _text(passage: Passage) -> str:
    return passage.text
