"""Putting what a file tells into the record, once."""

import hashlib
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from feedback import record, users
from feedback.moments import now
from feedback.reads import last_feedback_seq
from feedback.tables import Completion, Conversation, Feedback, Turn, User
from retrain.forms import Told

ADDED, KNOWN, DELETED, REVIEWED = "added", "here already", "deleted here before", "reviewed"
PROMPT = "imported"  # no prompt of ours: name and hash of what is not known


def tell(session: Session, told: Told, importer: str, holdout_share: float) -> str:
    """Record what is told; gives what became of it. Raises RecordError for what no record takes."""
    known = session.scalar(select(Feedback).where(Feedback.id == (told.feedback_id or "")))
    if known is not None:
        return _review(session, told, known, importer) or KNOWN
    user = users.user_named(session, told.user or importer) or users.add_user(
        session, told.user or importer
    )
    conversation = _conversation(session, told, user, holdout_share)
    if conversation.deleted_at is not None:
        return DELETED
    if conversation.user_id != user.id:
        return KNOWN  # this record wrote the file
    key = f"import {_id('', user, told.key)}"
    query = select(Feedback).where(Feedback.user_id == user.id, Feedback.idempotency_key == key)
    if (before := session.scalar(query)) is not None:
        return _review(session, told, before, importer) or KNOWN
    turn, ids = _turn(session, told, user, conversation)
    given = record.record_feedback(session, user, _body(told, turn.id, ids), key)
    if told.created_at is not None:
        given.created_at = told.created_at
    _review(session, told, given, importer)
    return ADDED


def _conversation(session: Session, told: Told, user: User, holdout_share: float) -> Conversation:
    key = told.conversation or told.key
    id = key if key.startswith("conv_") else _id("conv", user, key)
    if found := session.get(Conversation, id):
        return found
    title = told.title or told.query or str(told.messages[-1]["content"])
    made = record.start_conversation(session, user.id, title or "…", holdout_share, id)
    made.split = told.split or made.split
    return made


def _turn(
    session: Session, told: Told, user: User, conversation: Conversation
) -> tuple[Turn, list[str]]:
    """The turn and the ids of its answers, made when they are new."""
    key = told.turn or told.key
    id = _id("turn", user, f"{conversation.id} {key}")
    turn = session.get(Turn, id) or _new_turn(session, told, id, conversation)
    ids = [
        _id("cmpl", user, f"{id} {answer.key or place}")
        for place, answer in enumerate(told.answers)
    ]
    known = set(session.scalars(select(Completion.id).where(Completion.turn_id == id)))
    for answer_id, answer in zip(ids, told.answers, strict=True):
        if answer_id in known:
            continue
        record.record_completion(
            session,
            completion_id=answer_id,
            turn_id=id,
            draft=len(known),
            text=answer.text,
            token_ids=answer.token_ids,
            logprobs=answer.logprobs,
            adapter=answer.adapter,
            base_model=answer.base_model,
            engine=PROMPT,
            sampling=answer.sampling,
            prompt_hash=turn.prompt_hash,
            prompt_tokens=0,
            finish_reason=answer.finish_reason,
        )
        known.add(answer_id)
    return turn, ids


def _new_turn(session: Session, told: Told, id: str, conversation: Conversation) -> Turn:
    taken = select(Turn.position).where(Turn.conversation_id == conversation.id)
    place = told.position
    if place is None or session.scalar(taken.where(Turn.position == place)) is not None:
        last = session.scalar(
            select(func.max(Turn.position)).where(Turn.conversation_id == conversation.id)
        )
        place = 0 if last is None else last + 1
    turn = Turn(
        id=id,
        conversation_id=conversation.id,
        position=place,
        query=told.query or str(told.messages[-1]["content"]),
        rewritten_query=told.rewritten_query,
        messages=[dict(message) for message in told.messages],
        prompt_name=PROMPT,
        prompt_hash=PROMPT,
        preparation=None if told.preparation is None else dict(told.preparation),
        created_at=told.created_at or now(),
    )
    session.add(turn)
    session.flush()
    return turn


def _body(told: Told, turn_id: str, ids: list[str]) -> dict[str, Any]:
    """The feedback with ids where the file has places."""
    body = {**told.said}
    if body["kind"] == "comparison":
        body["shown"] = [ids[place] for place in body["shown"]]
        chosen = body["chosen"]
        body["chosen"] = ids[chosen] if isinstance(chosen, int) else chosen
    if body["kind"] in ("comparison", "rewrite"):
        return body | {"turn_id": turn_id}
    return body | {"completion_id": ids[body["completion_id"]]}


def _review(session: Session, told: Told, given: Feedback, importer: str) -> str | None:
    """Record what reviewers said; gives REVIEWED where that is new."""
    reviewer, before = users.known_user(session, importer), last_feedback_seq(session)
    for review in told.reviews:
        said = _id("", reviewer, repr(sorted(review.items())))
        body = {**review, "feedback_id": given.id}
        record.record_feedback(session, reviewer, body, f"import {given.id} {said}")
    return REVIEWED if told.reviews and last_feedback_seq(session) != before else None


def _id(kind: str, user: User, key: str) -> str:
    """An id that the same key of the same user always has."""
    digest = hashlib.sha256(f"{user.name}\n{key}".encode()).hexdigest()[:24]
    return f"{kind}_{digest}" if kind else digest
