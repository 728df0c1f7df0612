"""What the implicit kinds share: a completion that the user did something with, and no more."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from feedback import fields
from feedback.kinds import Payload, Resolved
from feedback.owned import own_completion
from feedback.tables import User

REQUIRED = ("completion_id",)
SCHEMA = {"completion_id": {"type": "string"}}


def validate(session: Session, user: User, body: Mapping[str, Any]) -> Resolved:
    """Something that happened to one of the user's completions."""
    fields.only(body, SCHEMA)
    completion, turn = own_completion(session, user, fields.required(body, "completion_id"))
    return Resolved(completion.id, turn.id, completion.id, turn.conversation_id, {})


def outcomes(payload: Payload, adapters: Mapping[str, str]) -> set[tuple[str, str]]:
    """That it happened to an answer of the adapter."""
    return {(adapter, "") for adapter in adapters.values()}
