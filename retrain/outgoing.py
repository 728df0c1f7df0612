"""What leaves the record for a file: reviewed and masked as a run's rows are.

A conversation at a time, so that a million rows need no more memory than a thousand. Where personal
data is masked the record is read twice, as what is public is known only when all was seen.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from feedback import users
from feedback.moments import iso
from feedback.reads import training_conversations
from retrain.curate import mask, reviewed
from retrain.curate._texts import change_all
from retrain.reviews import thing
from retrain.rows import Row, judged, trusted
from serve.settings import Settings


@dataclass(frozen=True)
class Filter:
    """Which rows are asked for; what is None or empty lets all through."""

    since: str = ""  # ISO 8601 in UTC, the first moment
    until: str = ""  # the first moment that is too late
    adapter: str | None = None
    role: str | None = None
    kinds: tuple[str, ...] = ()

    def takes(self, row: Row) -> bool:
        """Whether the row is asked for."""
        wrote = {c["adapter"] for c in judged(row) or row["completions"]}
        return (
            self.since <= row["created_at"]
            and (not self.until or row["created_at"] < self.until)
            and (self.adapter is None or self.adapter in wrote)
            and (self.role is None or self.role == row["role"])
            and (not self.kinds or row["given_as"] in self.kinds)
        )


def conversations(
    session: Session, settings: Settings, with_tokens: bool = True
) -> Iterator[list[Row]]:
    """The rows of each conversation, with the `role` of who gave them.

    `given_as` is the kind of the feedback, whatever a reviewer made of it; `overruled`, whether one
    judged the same thing (see `retrain.reviews`).
    """
    roles = {user.id: user.role for user in users.list_users(session)}
    with closing(Seen()) as settled:
        light = training_conversations(session, with_tokens=False)
        found = (_ready(rows, roles, settings) for rows in light)
        told = (_settling(row, settled) for rows in found for row in rows)
        hidden = mask.masker(told, settings)
        for _ in told:  # what no mask asked for
            pass
        for read in training_conversations(session, with_tokens):
            rows = [
                row | {"overruled": not trusted(row) and settled.has(thing(row))}
                for row in _ready(read, roles, settings)
            ]
            yield change_all(rows, hidden, "").kept if hidden else rows


def _settling(row: Row, settled: "Seen") -> Row:
    """The row; what somebody whose word counts more judged is noted on the way."""
    if trusted(row) and (judged_thing := thing(row)) is not None:
        settled.count(judged_thing)
    return row


def _ready(rows: list[Row], roles: dict[str, str], settings: Settings) -> list[Row]:
    told = [row | {"role": roles[row["user_id"]], "given_as": row["kind"]} for row in rows]
    return reviewed.apply(told, settings).kept


COUNTED = "INSERT INTO seen VALUES (?, 1) ON CONFLICT DO UPDATE SET n = n + 1 RETURNING n"


class Seen:
    """How often keys came before; on disk, however many there are."""

    def __init__(self) -> None:
        self._kept = sqlite3.connect("")  # SQLite's own temporary file, gone on closing
        self._kept.execute("CREATE TABLE seen (key BLOB PRIMARY KEY, n INTEGER) WITHOUT ROWID")

    def count(self, key: Any) -> int:
        """The how-manieth the key is, from 1."""
        (count,) = self._kept.execute(COUNTED, (_digest(key),)).fetchone()
        return int(count)

    def has(self, key: Any) -> bool:
        """Whether the key was counted."""
        found = self._kept.execute("SELECT 1 FROM seen WHERE key = ?", (_digest(key),))
        return found.fetchone() is not None

    def close(self) -> None:
        self._kept.close()


def _digest(key: Any) -> bytes:
    return hashlib.sha256(repr(key).encode()).digest()[:16]


def moment(text: str) -> str:
    """A day or moment as people write it, in UTC unless it says otherwise. Raises ValueError."""
    found = datetime.fromisoformat(text)
    return iso(found if found.tzinfo else found.replace(tzinfo=UTC))
