"""A reviewer's word on a verdict: {kind: "review", feedback_id, verdict, text}.

`verdict` is "keep" (teach it, also out of quarantine), "fix" (teach `text` in its place) or "drop"
(never teach it). The newest review of a verdict counts, whichever reviewer it is of.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from feedback import fields
from feedback.errors import Forbidden, Invalid, NotFound
from feedback.ids import plausible
from feedback.kinds import REVIEW, VERDICT, Payload, Resolved, kinds
from feedback.tables import Conversation, Feedback, User

KEEP, FIX, DROP = VERDICTS = ("keep", "fix", "drop")
REVIEWERS = ("reviewer", "admin")
MAX_TEXT = 100_000

GROUP = REVIEW
REQUIRED = ("feedback_id", "verdict")
SCHEMA = {
    "feedback_id": {"type": "string"},
    "verdict": {"enum": [*VERDICTS]},
    "text": {"type": ["string", "null"], "maxLength": MAX_TEXT},
}


def validate(session: Session, user: User, body: Mapping[str, Any]) -> Resolved:
    """A review of anybody's verdict; raises Forbidden for a user who is no reviewer."""
    fields.only(body, SCHEMA)
    if user.role not in REVIEWERS:
        raise Forbidden(
            f"{user.name} has the role {user.role}; a review needs the role reviewer. "
            f"`redraft user role {user.name} reviewer` gives it."
        )
    given = _verdict(session, fields.required(body, "feedback_id"))
    verdict = fields.required(body, "verdict")
    if verdict not in VERDICTS:
        raise Invalid(
            "verdict", f"verdict is {fields.show(verdict)}; it is one of {', '.join(VERDICTS)}."
        )
    payload = {"feedback_id": given.id, "verdict": verdict, "text": _text(body, verdict)}
    return Resolved(given.id, given.turn_id, given.completion_id, given.conversation_id, payload)


def outcomes(payload: Payload, adapters: Mapping[str, str]) -> set[tuple[str, str]]:
    """The reviewer's verdict, which is about a user's and not about an adapter's."""
    return {("", payload["verdict"])}


def _verdict(session: Session, id: object) -> Feedback:
    query = select(Feedback).join(Conversation, Conversation.id == Feedback.conversation_id)
    query = query.where(Feedback.kind.in_(kinds(VERDICT)), Conversation.deleted_at.is_(None))
    found = session.scalar(query.where(Feedback.id == plausible(id)))
    if found is None:
        raise NotFound("feedback", id)
    return found


def _text(body: Mapping[str, Any], verdict: str) -> str | None:
    text = body.get("text")
    if verdict == FIX:
        return fields.text("text", fields.required(body, "text"), MAX_TEXT)
    if text is not None:
        raise Invalid("text", f"text is of no use to {verdict}; only fix takes one.")
    return None
