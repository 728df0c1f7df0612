"""The writes: conversations, turns, completions and feedback. All need `Database.session()`."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value

from feedback import fields
from feedback.errors import Conflict, Invalid, NotFound
from feedback.ids import new_id, plausible
from feedback.kinds import load_kind
from feedback.moments import now
from feedback.owned import is_erased, own_conversation, own_even_deleted, own_feedback
from feedback.split import split_of
from feedback.tables import (
    IDEMPOTENCY_KEY_LENGTH,
    TITLE_LENGTH,
    WITHDRAWAL,
    Completion,
    Conversation,
    Feedback,
    Reasoning,
    Turn,
    User,
)

__all__ = [
    "delete_conversation",
    "new_id",
    "record_completion",
    "record_feedback",
    "record_reasoning",
    "record_turn",
    "rename_conversation",
    "restore_conversation",
    "start_conversation",
    "withdraw_feedback",
]

FINISH_REASONS = ("stop", "length", "tool_calls", "cancelled", "interrupted")
Row = TypeVar("Row", Conversation, Turn, Completion)

# Made once: every question asks them.
# The lock gives two turns sent at once two positions.
LOCKED = (
    select(Conversation)
    .where(Conversation.id == bindparam("id"))
    .with_for_update(key_share=True)
    .execution_options(populate_existing=True)
)
ERASED_OF_TURN = (  # as `owned.is_erased`
    select(Conversation.erased_at)
    .join(Turn, Turn.conversation_id == Conversation.id)
    .where(Turn.id == bindparam("id"))
    .with_for_update(read=True, of=Conversation)
)
LAST = select(func.max(Turn.position)).where(Turn.conversation_id == bindparam("id"))
MOVED = update(Conversation).where(Conversation.id == bindparam("moved"))
INSERT = {table: insert(table) for table in (Conversation, Turn, Completion)}


def start_conversation(
    session: Session,
    user_id: str,
    title: str,
    holdout_share: float,
    conversation_id: str | None = None,
) -> Conversation:
    """A new conversation, its split decided once; raises Conflict. A long title is cut."""
    id = conversation_id or new_id("conv")
    moment = now()
    conversation = Conversation(
        id=id,
        user_id=user_id,
        title=_cut(fields.mended(title)),
        split=split_of(user_id, id, holdout_share),
        created_at=moment,
        updated_at=moment,
    )
    return _added(session, conversation)


def rename_conversation(
    session: Session, user: User, conversation_id: str, title: object
) -> Conversation:
    """Give the user's conversation another title; raises NotFound, Invalid."""
    conversation = own_conversation(session, user, conversation_id)
    conversation.title = fields.text("title", title, TITLE_LENGTH).strip()
    conversation.updated_at = now()
    return conversation


def delete_conversation(session: Session, user: User, conversation_id: str) -> None:
    """Hide the user's conversation and leave it out of every later snapshot; raises NotFound."""
    own_conversation(session, user, conversation_id).deleted_at = now()


def restore_conversation(session: Session, user: User, conversation_id: str) -> None:
    """Take the deletion of the user's conversation back, if there was one; raises NotFound."""
    own_even_deleted(session, user, conversation_id).deleted_at = None


def record_turn(
    session: Session,
    *,
    turn_id: str,
    conversation_id: str,
    query: str,
    rewritten_query: str | None,
    messages: Sequence[Mapping[str, Any]],
    prompt_name: str,
    prompt_hash: str,
    preparation: Mapping[str, Any] | None = None,
    parent_id: str | None = None,
) -> Turn:
    """The next turn. Ownership is the caller's to check (owned.own_conversation).

    `parent_id` names the turn of this conversation that it goes on from, "" none of them; None
    leaves it unsaid. Raises NotFound.
    """
    conversation = session.scalar(LOCKED, {"id": conversation_id})
    if conversation is None or conversation.erased_at is not None:
        raise NotFound("conversation", conversation_id)
    if parent_id:
        same = Turn.id == plausible(parent_id), Turn.conversation_id == conversation_id
        if session.scalar(select(Turn.id).where(*same)) is None:
            raise NotFound("turn", parent_id)
    last, moment = session.scalar(LAST, {"id": conversation_id}), now()
    session.connection().execute(MOVED, {"moved": conversation_id, "updated_at": moment})
    set_committed_value(conversation, "updated_at", moment)
    turn = Turn(
        id=turn_id,
        conversation_id=conversation_id,
        position=0 if last is None else last + 1,
        parent_id=parent_id,
        query=fields.storable("query", query),
        rewritten_query=None if rewritten_query is None else fields.mended(rewritten_query),
        messages=fields.storable_json("messages", [dict(message) for message in messages]),
        prompt_name=prompt_name,
        prompt_hash=prompt_hash,
        preparation=None if preparation is None else dict(preparation),
        created_at=moment,
    )
    return _added(session, turn)


def record_completion(
    session: Session,
    *,
    completion_id: str,
    turn_id: str,
    draft: int,
    text: str,
    token_ids: Sequence[int] | None,
    logprobs: Sequence[float] | None,
    adapter: str,
    base_model: str,
    engine: str,
    sampling: Mapping[str, Any],
    prompt_hash: str,
    prompt_tokens: int,
    finish_reason: str,
    stopped_by: str | None = None,
) -> Completion:
    """One draft of a turn as the engine wrote it, whatever it is; never edited afterwards.

    `token_ids` and `logprobs` (the sampler's, one per token) are None where the engine gives none.
    """
    if finish_reason not in FINISH_REASONS:
        raise Invalid(
            "finish_reason",
            f"finish_reason is {finish_reason!r}; it is one of {', '.join(FINISH_REASONS)}.",
        )
    if not adapter:
        raise Invalid(
            "adapter", 'adapter is empty; a completion names the adapter that wrote it, or "base".'
        )
    if _is_erased(session, turn_id):  # while the answer was written
        text, token_ids, logprobs, sampling, stopped_by = "", None, None, {}, None
    completion = Completion(
        id=completion_id,
        turn_id=turn_id,
        draft=draft,
        text=fields.mended(text),
        token_ids=None if token_ids is None else [int(token) for token in token_ids],
        logprobs=_logprobs(token_ids, logprobs),
        adapter=adapter,
        base_model=base_model,
        engine=engine,
        sampling=dict(sampling),
        prompt_hash=prompt_hash,
        prompt_tokens=prompt_tokens,
        finish_reason=finish_reason,
        stopped_by=stopped_by,
        created_at=now(),
    )
    return _added(session, completion)


def record_reasoning(
    session: Session,
    *,
    completion_id: str,
    text: str,
    token_ids: Sequence[int] | None,
    logprobs: Sequence[float] | None,
    finish_reason: str,
) -> Reasoning:
    """What follows the delimiter of a completion: once, the first one stays.

    `token_ids` are None where they are among the completion's own.
    """
    if known := session.get(Reasoning, completion_id):
        return known
    about = session.get(Completion, completion_id)
    if about and _is_erased(session, about.turn_id):
        text, token_ids, logprobs = "", None, None
    reasoning = Reasoning(
        completion_id=completion_id,
        text=fields.mended(text),
        token_ids=None if token_ids is None else [int(token) for token in token_ids],
        logprobs=_logprobs(token_ids, logprobs),
        finish_reason=finish_reason,
        created_at=now(),
    )
    session.add(reasoning)
    session.flush()
    return reasoning


def record_feedback(
    session: Session, user: User, body: Mapping[str, Any], idempotency_key: str | None = None
) -> Feedback:
    """One event of feedback, checked by its kind's file; raises Invalid, NotFound or Conflict.

    The same key with the same body gives the first row again; with another body it raises Conflict.
    """
    if not isinstance(body, Mapping):
        raise Invalid("body", "The body must be a JSON object with a kind.")
    key = _idempotency_key(idempotency_key)
    digest = None if key is None else _digest(body)
    _lock(session, user)
    if key is not None and (first := _replayed(session, user, key, digest)):
        return first
    kind = load_kind(fields.required(body, "kind"))
    resolved = kind.validate(session, user, body)
    if is_erased(session, resolved.conversation_id):  # since it was looked up
        raise NotFound("conversation", resolved.conversation_id)
    row = Feedback(
        id=new_id("fb"),
        user_id=user.id,
        kind=body["kind"],
        **vars(resolved),
        idempotency_key=key,
        request_digest=digest,
        created_at=now(),
    )
    session.add(row)
    session.flush()
    return row


def withdraw_feedback(session: Session, user: User, feedback_id: str) -> Feedback:
    """Take back a row of feedback: gives the row that withdraws it, the same each time.

    What the row had replaced does not come into force again. Raises NotFound.
    """
    _lock(session, user)
    given = own_feedback(session, user, feedback_id)
    if earlier := session.scalar(select(Feedback).where(Feedback.withdraws == given.id)):
        return earlier
    row = Feedback(
        id=new_id("fb"),
        user_id=user.id,
        kind=WITHDRAWAL,
        target_id=given.target_id,
        turn_id=given.turn_id,
        completion_id=given.completion_id,
        conversation_id=given.conversation_id,
        payload={},
        withdraws=given.id,
        created_at=now(),
    )
    session.add(row)
    session.flush()
    return row


def _is_erased(session: Session, turn_id: str) -> bool:
    return session.scalar(ERASED_OF_TURN, {"id": turn_id}) is not None


def _added(session: Session, row: Row) -> Row:
    """The row, written; a failure undoes this row alone, so that the session goes on."""
    session.flush()  # what this row may point at
    # Without the unit of work, which costs ten times as much as the row.
    values = {column.key: getattr(row, column.key) for column in row.__table__.columns}
    try:
        with _undone_alone(session):
            session.connection().execute(INSERT[type(row)], values)
    except IntegrityError as error:
        what = type(row).__name__.lower()
        raise Conflict(
            f"The {what} {row.id} cannot be recorded: its id or place is taken, or what it belongs "
            f"to does not exist."
        ) from error
    for name, value in values.items():
        set_committed_value(row, name, value)
    make_transient_to_detached(row)
    session.add(row)
    return row


def _undone_alone(session: Session) -> AbstractContextManager[Any]:
    """A statement that fails undoes itself alone, but on PostgreSQL all before it as well."""
    if session.get_bind().dialect.name == "postgresql":
        return session.begin_nested()
    return nullcontext()


def _lock(session: Session, user: User) -> None:
    # One user's events are written one after the other, so that their order is the order in which
    # they count and a
    # double-fired request finds the row of the first.
    session.execute(select(User.id).where(User.id == user.id).with_for_update(key_share=True))


def _idempotency_key(key: str | None) -> str | None:
    return (
        None if key is None else fields.text("Idempotency-Key", key, IDEMPOTENCY_KEY_LENGTH).strip()
    )


def _digest(body: Mapping[str, Any]) -> str:
    try:
        canonical = json.dumps(dict(body), sort_keys=True)
    except (TypeError, ValueError) as error:
        raise Invalid("body", f"The body is not JSON: {error}.") from error
    return hashlib.sha256(canonical.encode()).hexdigest()


def _replayed(session: Session, user: User, key: str, digest: str | None) -> Feedback | None:
    """The row that came first with this key."""
    first = session.scalar(
        select(Feedback).where(Feedback.user_id == user.id, Feedback.idempotency_key == key)
    )
    if first is not None and first.request_digest != digest:
        raise Conflict(
            f"The Idempotency-Key {fields.show(key)} came before with another body, recorded as "
            f"{first.id}. "
            "Send a new key with a new body."
        )
    return first


def _logprobs(
    token_ids: Sequence[int] | None, logprobs: Sequence[float] | None
) -> list[float] | None:
    if logprobs is None:
        return None
    if token_ids is None or len(token_ids) != len(logprobs):
        count = 0 if token_ids is None else len(token_ids)
        raise Invalid(
            "logprobs",
            f"logprobs has {len(logprobs)} values for {count} tokens; there is one per token.",
        )
    values = [float(value) for value in logprobs]
    # No JSON has infinity, and nothing can be learned from it: null says that there are none.
    return values if all(map(math.isfinite, values)) else None


def _cut(title: str) -> str:
    title = " ".join(title.split())
    return title if len(title) <= TITLE_LENGTH else title[: TITLE_LENGTH - 1] + "…"
