"""Looking up as a user: what is not theirs or was deleted is not found, whatever the role."""

from typing import TypeVar

from sqlalchemy import ColumnElement, bindparam, select
from sqlalchemy.orm import Session

from feedback.errors import NotFound
from feedback.ids import plausible
from feedback.tables import (
    WITHDRAWAL,
    Completion,
    Conversation,
    Feedback,
    Response,
    Turn,
    User,
)

Found = TypeVar("Found")
ERASED = (  # made once: every answer asks it
    select(Conversation.erased_at)
    .where(Conversation.id == bindparam("id"))
    .with_for_update(read=True)
)


def own_conversation(session: Session, user: User, id: object) -> Conversation:
    """The user's conversation; raises NotFound."""
    found = session.scalar(
        select(Conversation).where(Conversation.id == plausible(id), *_visible(user))
    )
    return _found(found, "conversation", id)


def own_even_deleted(session: Session, user: User, id: object) -> Conversation:
    """The user's conversation, deleted or not, unless its texts were erased; raises NotFound."""
    kept = Conversation.user_id == user.id, Conversation.erased_at.is_(None)
    found = session.scalar(select(Conversation).where(Conversation.id == plausible(id), *kept))
    return _found(found, "conversation", id)


def is_erased(session: Session, conversation_id: str) -> bool:
    """Whether the texts of the conversation were erased, so that none may be added.

    Until the session ends nobody can erase them: an erasure that has begun is waited for.
    """
    return session.scalar(ERASED, {"id": conversation_id}) is not None


def own_turn(session: Session, user: User, id: object) -> Turn:
    """A turn of one of the user's conversations; raises NotFound."""
    query = select(Turn).join(Conversation, Conversation.id == Turn.conversation_id)
    found = session.scalar(query.where(Turn.id == plausible(id), *_visible(user)))
    return _found(found, "turn", id)


def own_completion(session: Session, user: User, id: object) -> tuple[Completion, Turn]:
    """A completion in one of the user's conversations, with its turn; raises NotFound."""
    query = select(Completion, Turn).join(Turn, Turn.id == Completion.turn_id)
    query = query.join(Conversation, Conversation.id == Turn.conversation_id)
    row = session.execute(query.where(Completion.id == plausible(id), *_visible(user))).first()
    found = _found(row, "completion", id)
    return found[0], found[1]


def own_response(session: Session, user: User, id: object) -> Response:
    """A response in one of the user's conversations; raises NotFound."""
    query = select(Response).join(Conversation, Conversation.id == Response.conversation_id)
    found = session.scalar(query.where(Response.id == plausible(id), *_visible(user)))
    return _found(found, "response", id)


def own_feedback(session: Session, user: User, id: object) -> Feedback:
    """A row of feedback that the user gave (withdrawals do not count as one); raises NotFound."""
    found = session.scalar(
        select(Feedback).where(
            Feedback.id == plausible(id), Feedback.user_id == user.id, Feedback.kind != WITHDRAWAL
        )
    )
    return _found(found, "feedback", id)


def _visible(user: User) -> tuple[ColumnElement[bool], ...]:
    """What holds for a conversation that the user may see."""
    return Conversation.user_id == user.id, Conversation.deleted_at.is_(None)


def _found(row: Found | None, what: str, id: object) -> Found:
    if row is None:
        raise NotFound(what, id)
    return row
