"""What one row of a file tells: a question, its answers, and what somebody said of them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from feedback import fields
from feedback.errors import Invalid

Messages = list[dict[str, str]]
ROLES = ("system", "developer", "user", "assistant", "tool")
IMPORTED = "imported"  # the adapter and base model of answers that do not name theirs
SPLITS = ("train", "heldout")
MOST = 100_000  # characters of a text


class Broken(Exception):
    """A row cannot be read; the text says why."""


@dataclass(frozen=True)
class Answer:
    """An answer that was given."""

    text: str
    key: str = ""  # what tells it from others of its question; empty: its place
    token_ids: Sequence[int] | None = None
    logprobs: Sequence[float] | None = None
    adapter: str = IMPORTED
    base_model: str = IMPORTED
    finish_reason: str = "stop"
    sampling: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Told:
    """A turn and what was said of it. `said` is a body of feedback in which answers are places.

    Keys make ids, so that the same row is the same feedback however often it is read: of the
    feedback, of the conversation that it belongs to, and of the turn.
    """

    key: str
    messages: Messages
    answers: Sequence[Answer]
    said: Mapping[str, Any]
    conversation: str = ""
    turn: str = ""
    query: str = ""
    rewritten_query: str | None = None
    preparation: Mapping[str, Any] | None = None
    position: int | None = None
    title: str = ""
    split: str | None = None
    user: str | None = None  # None: whoever imports
    created_at: datetime | None = None
    feedback_id: str | None = None  # under which this record may have it already
    numbered: bool = True  # equal rows of one file are as many; False: one and the same
    reviews: Sequence[Mapping[str, Any]] = ()  # of what was said


def key_of(row: Mapping[str, Any]) -> str:
    """A digest of the row: equal for equal rows."""
    canonical = json.dumps(row, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def need(row: Mapping[str, Any], *names: str) -> list[Any]:
    """The values of these columns. Raises Broken."""
    for name in names:
        if name not in row:
            raise Broken(f"{name} is missing; it has {', '.join(sorted(row)) or 'nothing'}")
    return [row[name] for name in names]


def text(name: str, value: object, *, empty: bool = False) -> str:
    """The text. Raises Broken."""
    try:
        return fields.text(name, value, MOST, empty=empty)
    except Invalid as error:
        raise Broken(str(error).rstrip(".")) from error


def prompt(value: object) -> Messages:
    """A prompt as messages that end in a question: a text is the user's. Raises Broken."""
    if isinstance(value, str):
        return [{"role": "user", "content": text("prompt", value)}]
    found = messages("prompt", value)
    if found[-1]["role"] not in ("user", "tool"):
        raise Broken(
            f"prompt ends in a message of role {found[-1]['role']}, not in a question: parts of "
            "answers, as --all-columns writes them, are not read"
        )
    return found


def answer(name: str, value: object) -> Answer:
    """An answer: a text, or one message of the assistant. Raises Broken."""
    if isinstance(value, str):
        return Answer(text(name, value))
    if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], dict):
        raise Broken(f"{name} is {fields.show(value)}; it must be one message or a text")
    (said,) = messages(name, value)
    if said["role"] != "assistant":
        raise Broken(f"{name} is a message of role {said['role']}, not of the assistant")
    reason = value[0].get("finish_reason", "stop")
    if reason not in ("stop", "length"):
        raise Broken(f"{name} ends by {fields.show(reason)}; only stop and length are read")
    return Answer(said["content"], finish_reason=reason)


def messages(name: str, value: object) -> Messages:
    """A list of messages with role and content. Raises Broken."""
    if not isinstance(value, list) or not value:
        raise Broken(f"{name} is {fields.show(value)}; it must be messages")
    found = []
    for message in value:
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise Broken(f"{name} has {fields.show(message)}, which is no message with a role")
        others = {key for key, part in message.items() if part is not None}
        others -= {"role", "content", "finish_reason", "token_ids"}
        if others:
            raise Broken(f"{name} has a message with {', '.join(sorted(others))}, not only text")
        said = text(f"{name}: content", message.get("content"), empty=True)
        found.append({"role": message["role"], "content": said})
    return found


def ours(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that `redraft export --all-columns` adds. Raises Broken."""
    split = row.get("split")
    if split is not None and split not in SPLITS:
        raise Broken(f"split is {fields.show(split)}; it is train or heldout")
    id = row.get("feedback_id")
    return {"split": split, "feedback_id": id if isinstance(id, str) else None}
