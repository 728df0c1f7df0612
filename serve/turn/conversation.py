"""Which conversation a turn belongs to."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from feedback import fields, record
from feedback.owned import own_conversation
from feedback.tables import Conversation, Turn, User
from serve.engines.base import Message


def find_conversation(session: Session, user: User, conversation_id: str | None) -> None:
    """Refuse another user's conversation before any work is done. Raises NotFound."""
    if conversation_id is not None:
        own_conversation(session, user, conversation_id)


def open_conversation(
    session: Session,
    user: User,
    conversation_id: str | None,
    messages: Sequence[Message],
    holdout_share: float,
) -> Conversation:
    """The conversation of the newest of `messages`, a new one where none fits.

    With an id: that one; raises NotFound when it is not the user's, and Invalid for words that no
    database stores. A plain OpenAI client sends no
    id but its whole history: it goes on in the user's newest conversation that began with the same
    words, so that one dialogue never falls on both sides of the train and held-out split.
    """
    if known := known_conversation(session, user, conversation_id, messages):
        return known
    newest = [m["content"] for m in messages if m["role"] == "user"][-1]
    return record.start_conversation(session, user.id, newest, holdout_share)


def known_conversation(
    session: Session, user: User, conversation_id: str | None, messages: Sequence[Message]
) -> Conversation | None:
    """The recorded conversation that `messages` go on in. Raises as `open_conversation` does."""
    fields.storable_json("messages", list(messages))
    if conversation_id is not None:
        return own_conversation(session, user, conversation_id)
    said = [m["content"] for m in messages if m["role"] == "user"]
    return _begun_with(session, user, said[0]) if len(said) > 1 else None


def _begun_with(session: Session, user: User, words: str) -> Conversation | None:
    begun = (
        select(Conversation)
        .join(Turn, Turn.conversation_id == Conversation.id)
        .where(
            Conversation.user_id == user.id,
            Conversation.deleted_at.is_(None),
            Turn.position == 0,
            Turn.query == words,
        )
        .order_by(Conversation.updated_at.desc())
    )
    return session.scalars(begun.limit(1)).first()
