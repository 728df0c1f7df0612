"""The reviewers' queue: what a run held back, and a sample of what it trains on.

Each run that curates leaves its own in place of the one before. A verdict waits until a reviewer
has said something of it, while it is in force and may be learned from.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, exists, func, select
from sqlalchemy.orm import Session, aliased

from feedback.ids import plausible
from feedback.kinds import REVIEW
from feedback.moments import iso, now
from feedback.reads import MAX_LIMIT, Page, consented, in_force, unknown_cursor
from feedback.tables import Conversation, Feedback, User, Waiting

BATCH = 200


@dataclass(frozen=True)
class Item:
    """A verdict for the queue. `step` and `reason` say what held it back; None: a sample.

    `users` is how many people say the same; `shown` is what it would teach, ready for JSON and
    without what nobody may see.
    """

    feedback_id: str
    step: str | None
    reason: str
    users: int
    shown: dict[str, Any]


@dataclass(frozen=True)
class Progress:
    """How many of the queue's verdicts were reviewed, of how many."""

    done: int
    total: int


def fill_queue(session: Session, run_id: str, items: Iterable[Item]) -> int:
    """Put the items in place of the queue, first what was held back last; gives how many there are.

    Verdicts whose conversation is deleted meanwhile are left out.
    """
    told = session.execute(select(Waiting.feedback_id, Waiting.step, Waiting.since))
    before = {id: (step is None, since) for id, step, since in told}
    known = {item.feedback_id: item for item in items}
    seqs = _seqs(session, list(known))
    moment = now()

    def since(id: str) -> datetime:
        sampled, began = before.get(id, (None, moment))
        return began if sampled is (known[id].step is None) else moment

    session.execute(delete(Waiting))
    newest_first = sorted(seqs, key=lambda id: (since(id), seqs[id]), reverse=True)
    ordered = sorted(newest_first, key=lambda id: known[id].step is None)
    rows = (
        Waiting(place=place, run_id=run_id, since=since(id), **vars(known[id]))
        for place, id in enumerate(ordered)
    )
    session.add_all(rows)
    session.flush()
    return len(ordered)


def list_queue(session: Session, limit: int = 20, after: str | None = None) -> Page:
    """What waits for a reviewer, in order. `after` may have been reviewed meanwhile."""
    wanted = _standing().where(~_reviewed()).order_by(Waiting.place)
    if after is not None:
        last = session.get(Waiting, plausible(after))
        if last is None:
            raise unknown_cursor(after)
        wanted = wanted.where(Waiting.place > last.place)
    found = session.execute(wanted.limit(min(limit, MAX_LIMIT) + 1)).all()
    items = [_describe(*row) for row in found[:limit]]
    return Page(items, len(found) > limit, items[-1]["feedback_id"] if items else None)


def progress(session: Session) -> Progress:
    """How far reviewers are with the queue as the last run left it."""
    standing = _standing().with_only_columns(func.count(), maintain_column_froms=True)
    done = session.scalar(standing.where(_reviewed())) or 0
    return Progress(done, session.scalar(standing) or 0)


def _standing() -> Select[Any]:
    """(feedback, place in the queue, conversation, user) of what may still be learned from."""
    return (
        in_force()
        .join(Waiting, Waiting.feedback_id == Feedback.id)
        .join(Conversation, Conversation.id == Feedback.conversation_id)
        .join(User, User.id == Feedback.user_id)
        .where(Conversation.deleted_at.is_(None), consented())
        .add_columns(Waiting, Conversation, User)
    )


def _reviewed() -> ColumnElement[bool]:
    review = aliased(Feedback)
    said = in_force(groups=(REVIEW,), row=review)
    # By turn, which has an index: a review is of the turn of its verdict.
    said = said.where(review.turn_id == Feedback.turn_id, review.target_id == Feedback.id)
    return exists(said.correlate(Feedback))


def _seqs(session: Session, ids: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    wanted = select(Feedback.id, Feedback.seq).join(
        Conversation, Conversation.id == Feedback.conversation_id
    )
    wanted = wanted.where(Conversation.deleted_at.is_(None))
    for start in range(0, len(ids), BATCH):
        batch = wanted.where(Feedback.id.in_(ids[start : start + BATCH]))
        found |= {id: seq for id, seq in session.execute(batch)}
    return found


def _describe(
    given: Feedback, waiting: Waiting, conversation: Conversation, user: User
) -> dict[str, Any]:
    held = {"step": waiting.step, "reason": waiting.reason, "since": iso(waiting.since)}
    return {
        "feedback_id": given.id,
        "kind": given.kind,
        "held": held if waiting.step is not None else None,
        "run_id": waiting.run_id,
        "users": waiting.users,
        "user": {"name": user.name, "role": user.role},
        "split": conversation.split,
        "conversation_id": conversation.id,
        "turn_id": given.turn_id,
        "completion_id": given.completion_id,
        "created_at": iso(given.created_at),
        **waiting.shown,
    }
