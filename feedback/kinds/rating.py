"""A thumb: {kind: "rating", completion_id, part, value: 1 or -1, tags, comment}.

`tags` are keys of `feedback.reasons` that go with the thumb, or words of a client's own.

`part` is "conclusion" or "reasoning"; left out, it is the answer as shown. See `feedback.parts`.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from feedback import fields, parts, reasons
from feedback.errors import Invalid
from feedback.kinds import VERDICT, Payload, Resolved
from feedback.owned import own_completion
from feedback.tables import User

MAX_TAGS = 20
MAX_TAG = 64
MAX_COMMENT = 20_000

GROUP = VERDICT
REQUIRED = ("completion_id", "value")
SCHEMA = {
    "completion_id": {"type": "string"},
    "part": parts.SCHEMA,
    "value": {"enum": [1, -1]},
    "tags": {
        "type": ["array", "null"],
        "items": {"type": "string", "minLength": 1, "maxLength": MAX_TAG},
        "maxItems": MAX_TAGS,
    },
    "comment": {"type": ["string", "null"], "maxLength": MAX_COMMENT},
}


def validate(session: Session, user: User, body: Mapping[str, Any]) -> Resolved:
    """A rating of one of the user's completions, or of its reasoning."""
    fields.only(body, SCHEMA)
    completion, turn = own_completion(session, user, fields.required(body, "completion_id"))
    part = parts.part_of(body)
    value = thumb(body)
    payload = {
        **parts.said_of(part),
        "value": value,
        "tags": reasons.check_direction(_tags(body.get("tags")), value),
        "comment": _comment(body.get("comment")),
    }
    about = parts.target(session, completion, part)
    return Resolved(about, turn.id, completion.id, turn.conversation_id, payload)


def outcomes(payload: Payload, adapters: Mapping[str, str]) -> set[tuple[str, str]]:
    """The thumb: up or down, apart for the reasoning."""
    thumb = "up" if payload["value"] == 1 else "down"
    return {(adapter, parts.told_apart(payload, thumb)) for adapter in adapters.values()}


def thumb(body: Mapping[str, Any]) -> int:
    """The field `value`: 1 (up) or -1 (down), as an integer and nothing else."""
    value = fields.required(body, "value")
    if type(value) is not int or value not in (1, -1):
        raise Invalid("value", f"value is {fields.show(value)}; a rating is 1 (up) or -1 (down).")
    return value


def _tags(tags: object) -> list[str]:
    if tags is None:
        return []
    if not isinstance(tags, list) or len(tags) > MAX_TAGS:
        raise Invalid(
            "tags",
            f"tags is {fields.show(tags)}; it must be a list of at most {MAX_TAGS} short strings.",
        )
    return list(dict.fromkeys(fields.text("tags", tag, MAX_TAG) for tag in tags))


def _comment(comment: object) -> str | None:
    return (
        None
        if comment is None
        else fields.text("comment", comment, MAX_COMMENT, empty=True) or None
    )
