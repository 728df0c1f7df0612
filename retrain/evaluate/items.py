"""Held-out feedback as items: a prompt, the text that users stood for, the texts they did not.

A correction has only `good`, and so has an answer of a corpus; a comparison both, a rating one of
the two. What many users said alike
about one prompt is one item, so that it counts once and is scored once. Texts have the form that
training gives them (`retrain.parts`); verdicts on reasonings are kinds of their own.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prompts.answer_first import DELIMITER
from retrain import parts
from retrain.rows import (
    CORPUS,
    Answer,
    Row,
    completion,
    conclusion_first,
    is_train,
    picked,
    stopped_short,
    trusted,
    vouched_for,
)

MOST = 200
RATINGS = ("rating", "reasoning_rating")


@dataclass(frozen=True)
class Passage:
    """A text to score; `token_ids` are the logged ones, end of turn included, if there are any."""

    text: str
    token_ids: tuple[int, ...] = ()
    finished: bool = True  # by its writer, not by a limit


Passages = tuple[Passage, ...]


@dataclass(frozen=True)
class Item:
    """One thing that held-out feedback says."""

    kind: str  # correction, comparison, rating, reasoning_correction, reasoning_rating, corpus
    messages: tuple[dict[str, Any], ...]
    good: Passages = ()
    bad: Passages = ()
    max_tokens: int = 0  # of the answers that were compared or rated
    stop: tuple[str, ...] = ()  # where those end
    after: Passage | None = None  # the conclusion, where the texts are reasonings
    users: frozenset[str] = frozenset()  # who said so
    sure: bool = False  # whether somebody whose word is enough did

    @property
    def key(self) -> str:
        """A digest of what the item says, the same in every run."""
        said = [self.kind, self.messages, [*map(_text, self.good)], [*map(_text, self.bad)]]
        said += [_text(self.after)] if self.after else []
        return hashlib.sha256(repr(tuple(said)).encode()).hexdigest()[:16]


def held_out_items(rows: Sequence[Row], most: int = MOST) -> list[Item]:
    """The distinct items of the held-out rows; of more than `most` a stable choice, for feedback
    and for a corpus each.

    Ratings are left out unless there are thumbs of both directions: with one alone, a candidate
    that writes everything more readily would look better.
    """
    found: dict[str, Item] = {}
    for row in rows:
        if row["split"] == "heldout" and (item := _item(row)):
            found[item.key] = _said_by(row, found.get(item.key, item))
    items = [found[key] for key in sorted(found)]
    of_corpus = [item for item in items if item.kind == CORPUS][:most]
    items = [item for item in items if item.kind != CORPUS][:most] + of_corpus
    for kind in RATINGS:
        if len({bool(item.good) for item in items if item.kind == kind}) < 2:
            items = [item for item in items if item.kind != kind]
    return items


def _said_by(row: Row, item: Item) -> Item:
    sure = item.sure or trusted(row) or vouched_for(row)
    return replace(item, users=item.users | {row["user_id"]}, sure=sure)


def taught_items(rows: Iterable[Row]) -> list[Item]:
    """What the training rows say."""
    return [item for item in map(_item, filter(is_train, rows)) if item]


def taught_as_well(items: Iterable[Item], rows: Sequence[Row]) -> dict[str, int]:
    """By kind, of how many items somebody said the very same in a conversation that is trained on.

    A gain on those shows that it was learned, and not that it was understood.
    """
    taught = {item.key for item in taught_items(rows)}
    return count_by_kind(item for item in items if item.key in taught)


def count_by_kind(items: Iterable[Item]) -> dict[str, int]:
    """How many items there are of each kind."""
    kinds = [item.kind for item in items]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def _item(row: Row) -> Item | None:
    if row["kind"] == "comparison":
        return _comparison(row)
    if row["kind"] == CORPUS:
        return Item(CORPUS, tuple(row["messages"]), (Passage(row["payload"]["text"]),))
    c = completion(row)
    if row["kind"] == "correction":
        return _about(row, c, (Passage(parts.corrected(row)[0]["content"]),))
    if row["kind"] != "rating" or c is None or not c["text"]:
        return None
    passage = (_passage(c, parts.judged_part(row, c)),)
    return _about(row, c, passage) if row["payload"]["value"] > 0 else _about(row, c, bad=passage)


def _comparison(row: Row) -> Item | None:
    pick = picked(row)
    if pick is None:
        return None
    drafts = [pick[0], *pick[1]]
    good, *bad = map(_passage, drafts, parts.alike(drafts))
    return Item("comparison", tuple(row["messages"]), (good,), tuple(bad), *_ends(drafts))


def _ends(written: Sequence[Row]) -> tuple[int, tuple[str, ...]]:
    """(limit in tokens, stop strings) under which stored answers were written."""
    stop = (DELIMITER,) if any(map(conclusion_first, written)) else ()
    return int(written[0]["sampling"].get("max_tokens", 0)), stop


def _about(row: Row, c: Row | None, good: Passages = (), bad: Passages = ()) -> Item:
    messages = tuple(row["messages"])
    if c is None:
        return Item(row["kind"], messages, good, bad)
    if not parts.on_reasoning(row):
        return Item(row["kind"], messages, good, bad, *_ends([c]))
    after = _passage(c, parts.draft(c))
    return Item(f"reasoning_{row['kind']}", messages, good, bad, after=after)


def _passage(c: Row, said: Answer) -> Passage:
    """What is said of the stored answer, in logged tokens where they are of that and no more."""
    (message,) = said
    ends = message["finish_reason"]
    others_too = conclusion_first(c) or stopped_short(c)  # a delimiter's, a stop string's
    as_logged = not others_too and ends != parts.AT_DELIMITER
    token_ids = c["token_ids"] if as_logged else message.get("token_ids")
    return Passage(message["content"], tuple(token_ids or ()), ends in ("stop", parts.AT_DELIMITER))


def _text(passage: Passage) -> str:
    return passage.text
