"""The answer as it should have been: {kind: "correction", completion_id, part, text}.

`part` is "conclusion" or "reasoning"; left out, it is the answer as shown. See `feedback.parts`.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from feedback import fields, parts
from feedback.kinds import VERDICT, Payload, Resolved
from feedback.owned import own_completion
from feedback.tables import User

MAX_TEXT = 100_000

GROUP = VERDICT
REQUIRED = ("completion_id", "text")
SCHEMA = {
    "completion_id": {"type": "string"},
    "part": parts.SCHEMA,
    "text": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT},
}


def validate(session: Session, user: User, body: Mapping[str, Any]) -> Resolved:
    """A correction of one of the user's completions, or of its reasoning."""
    fields.only(body, SCHEMA)
    completion, turn = own_completion(session, user, fields.required(body, "completion_id"))
    part = parts.part_of(body)
    text = fields.text("text", fields.required(body, "text"), MAX_TEXT)
    about = parts.target(session, completion, part)
    payload = {**parts.said_of(part), "text": text}
    return Resolved(about, turn.id, completion.id, turn.conversation_id, payload)


def outcomes(payload: Payload, adapters: Mapping[str, str]) -> set[tuple[str, str]]:
    """What was corrected, apart for the reasoning."""
    return {(adapter, parts.told_apart(payload, "corrected")) for adapter in adapters.values()}
