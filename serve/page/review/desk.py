"""What a reviewer's tab is doing, and what the API says of the row on the desk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from serve.page.session import Session

NO_WINNER = ("tie", "both_bad")


@dataclass(frozen=True)
class Message:
    """A message of the conversation in which the verdict was given."""

    role: str
    text: str


@dataclass(frozen=True)
class Answer:
    """An answer that the verdict is about; `picked` where it won a comparison."""

    text: str
    adapter: str = ""
    picked: bool = False


@dataclass(frozen=True)
class Row:
    """A verdict that waits: what it would teach, who gave it, why it waits."""

    id: str
    kind: str
    text: str  # what a fix begins with
    answers: tuple[Answer, ...] = ()
    messages: tuple[Message, ...] = ()
    understood: str = ""
    chosen: str = ""
    part: str = ""
    value: int = 0
    tags: tuple[str, ...] = ()
    comment: str = ""
    step: str = ""  # that holds it back; empty: a sample
    reason: str = ""
    users: int = 1
    name: str = ""
    role: str = ""
    heldout: bool = False
    day: str = ""


@dataclass(frozen=True)
class Head:
    """The next row that waits, None where none does, and how far the queue is reviewed."""

    row: Row | None
    done: int
    total: int


@dataclass(frozen=True)
class Said:
    """A verdict of this tab: the feedback's id, and the row that it is about where known."""

    id: str
    verdict: str
    row: Row | None


@dataclass
class Desk(Session):
    """The state of one tab of the reviewers' page."""

    head: Head | None = None  # None: not known
    skipped: str = ""  # the row after which the next one is sought
    said: list[Said] = field(default_factory=list)  # that can be taken back, the last one first
    undone: bool = False

    def begin(self, owner: str) -> None:
        """Forget what another person saw here."""
        super().begin(owner)
        self.head, self.skipped, self.said, self.undone = None, "", [], False


def parse_head(body: dict[str, Any]) -> Head:
    """The first row of `GET /v1/review-queue`."""
    found = [parse_row(item) for item in body.get("data") or []]
    far = body.get("progress") or {}
    return Head(found[0] if found else None, int(far.get("done", 0)), int(far.get("total", 0)))


def parse_row(data: dict[str, Any]) -> Row:
    """An entry of the queue as a value."""
    held, user = data.get("held") or {}, data.get("user") or {}
    chosen = data.get("chosen") or ""
    answers = tuple(
        Answer(str(one["text"]), str(one.get("adapter") or ""), one.get("id") == chosen)
        for one in data.get("answers") or []
    )
    query, rewritten = str(data.get("query") or ""), str(data.get("rewritten_query") or "")
    return Row(
        id=str(data["feedback_id"]),
        kind=str(data["kind"]),
        text=str(data.get("text") or ""),
        answers=answers,
        messages=_messages(data.get("messages") or [], query, rewritten),
        understood=rewritten if rewritten != query else "",
        chosen=chosen if chosen in NO_WINNER else "",
        part=str(data.get("part") or ""),
        value=int(data.get("value") or 0),
        tags=tuple(data.get("tags") or ()),
        comment=str(data.get("comment") or ""),
        step=str(held.get("step") or ""),
        reason=str(held.get("reason") or ""),
        users=int(data.get("users") or 1),
        name=str(user.get("name") or ""),
        role=str(user.get("role") or ""),
        heldout=data.get("split") == "heldout",
        day=str(data.get("created_at") or "")[:10],
    )


def _messages(told: list[dict[str, Any]], query: str, rewritten: str) -> tuple[Message, ...]:
    """What was said, the question in the user's own words."""
    said = [m for m in told if m.get("content") and m["role"] != "system"]
    found = [Message(str(m["role"]), str(m["content"])) for m in said]
    if found and query and found[-1].text == rewritten:
        found[-1] = Message(found[-1].role, query)
    return tuple(found)
