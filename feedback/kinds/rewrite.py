"""A verdict on how a question was understood: {kind: "rewrite", turn_id, value: 1 or -1, text}.

`text` is the standalone question as it should have been; it may be left out of a thumb up.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from feedback import fields
from feedback.errors import Invalid
from feedback.kinds import VERDICT, Payload, Resolved
from feedback.kinds.rating import thumb
from feedback.owned import own_turn
from feedback.tables import User

MAX_TEXT = 20_000

GROUP = VERDICT
REQUIRED = ("turn_id", "value")
SCHEMA = {
    "turn_id": {"type": "string"},
    "value": {"enum": [1, -1]},
    "text": {"type": ["string", "null"], "maxLength": MAX_TEXT},
}


def validate(session: Session, user: User, body: Mapping[str, Any]) -> Resolved:
    """A verdict on the rewritten query of one of the user's turns."""
    fields.only(body, SCHEMA)
    turn = own_turn(session, user, fields.required(body, "turn_id"))
    value, text = thumb(body), body.get("text")
    if text is not None:
        text = fields.text("text", text, MAX_TEXT).strip()
    elif value < 0:
        raise Invalid("text", "text is missing: say how the question should have been understood.")
    payload = {"value": value, "text": text}
    return Resolved(turn.id, turn.id, None, turn.conversation_id, payload)


def outcomes(payload: Payload, adapters: Mapping[str, str]) -> set[tuple[str, str]]:
    """How the question was understood, which no adapter of answers did."""
    return {("", "up" if payload["value"] == 1 else "down")}
