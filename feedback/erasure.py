"""Taking texts out of the record: of a user to be forgotten, of conversations past retention.

What was written goes, in every table; the rows stay, so that counts and the lineage of adapters do.
Erased conversations count as deleted: no snapshot reads them again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from feedback.database import Database
from feedback.ids import new_id
from feedback.lineage import taught_by
from feedback.moments import now
from feedback.reasons import REASONS
from feedback.tables import (
    ApiKey,
    Completion,
    Conversation,
    Deployment,
    Feedback,
    LoginSession,
    Reasoning,
    Response,
    Turn,
    User,
    Waiting,
)
from feedback.users import known_user

BATCH = 200
FORGOTTEN = "forgotten"  # how the names begin that take the place of names
KEYS = {key for known in REASONS.values() for key in known}


@dataclass(frozen=True)
class Forgotten:
    """What was erased of a user, and which adapters were trained on them."""

    name: str  # that the user has from now on
    conversations: int
    turns: int
    feedback: int
    keys: int  # revoked
    adapters: list[str]


def forget_user(database: Database, name: str) -> Forgotten:
    """Erase all that the user wrote, sign them out, revoke their keys. Raises NotFound.

    In transactions of a batch each: done again, it goes on where it was interrupted.
    """
    with database.session() as session:
        user = known_user(session, name)
        adapters = taught_by(session, user.id)
        keys = _shut_out(session, user)
    own = select(Conversation.id).where(Conversation.user_id == user.id)
    _erase(database, own.where(Conversation.erased_at.is_(None)))
    _erase_feedback_of(database, user.id)
    with database.reading() as session:
        counted = Forgotten(
            user.name,
            _count(session, own),
            _count(session, select(Turn.id).where(Turn.conversation_id.in_(own))),
            _count(session, select(Feedback.id).where(Feedback.user_id == user.id)),
            keys,
            adapters,
        )
    _scrub(database)
    return counted


def prune(database: Database, days: float) -> int:
    """Erase the conversations that nobody has used for so many days; gives how many."""
    old = select(Conversation.id).where(
        Conversation.erased_at.is_(None), Conversation.updated_at < now() - timedelta(days=days)
    )
    count = _erase(database, old)
    if count:
        _scrub(database)
    return count


def erased_among(session: Session, feedback_ids: Sequence[str]) -> set[str]:
    """Those of the feedback that erased texts belong to, a forgotten reviewer's included."""
    found: set[str] = set()
    review = aliased(Feedback)
    forgotten = select(User.id).where(User.forgotten_at.is_not(None))
    reviewed = exists().where(
        review.turn_id == Feedback.turn_id,
        review.target_id == Feedback.id,
        review.user_id.in_(forgotten),
    )
    query = select(Feedback.id).join(Conversation, Conversation.id == Feedback.conversation_id)
    query = query.where(or_(Conversation.erased_at.is_not(None), reviewed))
    for start in range(0, len(feedback_ids), BATCH):
        ids = feedback_ids[start : start + BATCH]
        found |= set(session.scalars(query.where(Feedback.id.in_(ids))))
    return found


def _shut_out(session: Session, user: User) -> int:
    """No name, password, session or key is left to the user; gives how many keys there were."""
    before = user.name
    if user.forgotten_at is None:
        user.name = new_id(FORGOTTEN)
        user.forgotten_at = now()
    user.password, user.consent, user.role = None, False, "user"
    session.execute(delete(LoginSession).where(LoginSession.user_id == user.id))
    session.execute(update(Deployment).where(Deployment.by == before).values(by=user.name))
    open_keys = update(ApiKey).where(ApiKey.user_id == user.id, ApiKey.revoked_at.is_(None))
    done: Any = session.execute(open_keys.values(revoked_at=now()))
    return int(done.rowcount)


def _erase(database: Database, wanted: Select[Any]) -> int:
    """Erase the conversations of those ids, which the query then no longer gives."""
    count = 0
    while True:
        with database.session() as session:
            ids = session.scalars(wanted.limit(BATCH)).all()
            if not ids:
                return count
            _erase_conversations(session, ids)
            count += len(ids)


def _erase_conversations(session: Session, ids: Sequence[str]) -> None:
    # First, so that whoever writes into one of them has ended before its texts go, or finds it
    # erased: see `owned.is_erased`.
    moment = now()
    session.execute(
        update(Conversation)
        .where(Conversation.id.in_(ids))
        .values(
            title="", erased_at=moment, deleted_at=func.coalesce(Conversation.deleted_at, moment)
        )
    )
    turns = select(Turn.id).where(Turn.conversation_id.in_(ids))
    answers = select(Completion.id).where(Completion.turn_id.in_(turns))
    nothing: dict[str, Any] = {"text": "", "token_ids": None, "logprobs": None}
    session.execute(delete(Response).where(Response.conversation_id.in_(ids)))
    given = select(Feedback.id).where(Feedback.conversation_id.in_(ids))
    session.execute(delete(Waiting).where(Waiting.feedback_id.in_(given)))
    session.execute(update(Reasoning).where(Reasoning.completion_id.in_(answers)).values(nothing))
    session.execute(
        update(Completion)
        .where(Completion.turn_id.in_(turns))
        .values(nothing | {"sampling": {}, "stopped_by": None})
    )
    session.execute(
        update(Turn)
        .where(Turn.conversation_id.in_(ids))
        .values(query="", rewritten_query=None, messages=[], preparation=None)
    )
    for row in session.scalars(select(Feedback).where(Feedback.conversation_id.in_(ids))):
        _empty(row)


def _erase_feedback_of(database: Database, user_id: str) -> None:
    """What the user said elsewhere: a reviewer writes on the conversations of others."""
    for seqs in _batches(database, user_id):
        with database.session() as session:
            for row in session.scalars(select(Feedback).where(Feedback.seq.in_(seqs))):
                _empty(row)


def _batches(database: Database, user_id: str) -> Iterator[Sequence[int]]:
    last = 0
    while True:
        with database.reading() as session:
            wanted = select(Feedback.seq).where(Feedback.user_id == user_id, Feedback.seq > last)
            seqs = session.scalars(wanted.order_by(Feedback.seq).limit(BATCH)).all()
        if not seqs:
            return
        yield seqs
        last = seqs[-1]


def _empty(row: Feedback) -> None:
    """Leave of the feedback what it counts as: no text, no comment, no tags in own words."""
    payload = dict(row.payload)
    for field in ("text", "comment"):
        if payload.get(field):
            payload[field] = None
    if payload.get("tags"):
        payload["tags"] = [tag for tag in payload["tags"] if tag in KEYS]
    if payload != row.payload:
        row.payload = payload
    row.idempotency_key = row.request_digest = None


def _count(session: Session, wanted: Select[Any]) -> int:
    return session.scalar(select(func.count()).select_from(wanted.subquery())) or 0


def _scrub(database: Database) -> None:
    """Have SQLite give up the pages that still hold what was erased."""
    if database.bind.dialect.name != "sqlite":
        return  # servers clear away old rows by themselves
    connection = database.bind.raw_connection()  # a checkpoint cannot be made in a transaction
    try:
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
