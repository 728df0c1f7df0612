"""The answer as it should have been: {kind: "correction", completion_id, text}."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from feedback import fields
from feedback.kinds import Resolved
from feedback.owned import own_completion
from feedback.tables import User

MAX_TEXT = 100_000


def validate(session: Session, user: User, body: Mapping[str, Any]) -> Resolved:
    """A correction of one of the user's completions."""
    fields.only(body, ("completion_id", "text"))
    completion, turn = own_completion(session, user, fields.required(body, "completion_id"))
    text = fields.text("text", fields.required(body, "text"), MAX_TEXT)
    return Resolved(completion.id, turn.id, completion.id, turn.conversation_id, {"text": text})
