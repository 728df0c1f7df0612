"""A thumb: {kind: "rating", completion_id, part, value: 1 or -1, tags, comment}.

`part` is "conclusion" or "reasoning"; left out, it is the answer as shown. See `feedback.parts`.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from feedback import fields, parts
from feedback.errors import Invalid
from feedback.kinds import Resolved
from feedback.owned import own_completion
from feedback.tables import User

MAX_TAGS = 20
MAX_TAG = 64
MAX_COMMENT = 20_000


def validate(session: Session, user: User, body: Mapping[str, Any]) -> Resolved:
    """A rating of one of the user's completions, or of its reasoning."""
    fields.only(body, ("completion_id", "part", "value", "tags", "comment"))
    completion, turn = own_completion(session, user, fields.required(body, "completion_id"))
    part = parts.part_of(body)
    payload = {
        **parts.said_of(part),
        "value": thumb(body),
        "tags": _tags(body.get("tags")),
        "comment": _comment(body.get("comment")),
    }
    about = parts.target(session, completion, part)
    return Resolved(about, turn.id, completion.id, turn.conversation_id, payload)


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
