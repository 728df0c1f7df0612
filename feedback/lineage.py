"""Where an adapter comes from: run, snapshot, feedback, completion, the adapter that wrote it."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session

from feedback.adapters import get_adapter
from feedback.kinds import REVIEW, VERDICT
from feedback.moments import iso
from feedback.reads import in_force
from feedback.tables import Adapter, Completion, Conversation, Deployment, Feedback, Run


def lineage(session: Session, name: str) -> dict[str, Any]:
    """The adapter's run and snapshot, what was done with it, and its parents up to the base.

    A run that learned a corpus names its folder and the digest of its dataset.

    Of the feedback in the snapshot it gives how many there are of each kind, and which adapters
    wrote the answers that they are about; `origins` gives them one by one. Raises NotFound.
    """
    adapter = get_adapter(session, name)
    return {
        "name": adapter.name,
        "state": adapter.state,
        "base_model": adapter.base_model,
        "digest": adapter.digest,
        "created_at": iso(adapter.created_at),
        "events": _events(session, name),
        "run": _run(session, adapter),
        "parent": lineage(session, adapter.parent) if adapter.parent else None,
    }


def origins(session: Session, name: str) -> Iterator[dict[str, Any]]:
    """The way back from the adapter, a row for each feedback of its snapshot, in order.

    A row is {adapter, run, snapshot, feedback, kind, completion, written_by}; a comparison has one
    for each draft. Raises NotFound.
    """
    adapter = get_adapter(session, name)
    run = session.get(Run, adapter.run_id) if adapter.run_id else None
    if run is None:
        return
    wanted = _feedback_before(run).with_only_columns(
        Feedback.id, Feedback.kind, Completion.id, Completion.adapter
    )
    found = session.execute(wanted.order_by(Feedback.seq, Completion.draft))
    for feedback, kind, completion, written_by in found:
        yield {
            "adapter": name,
            "run": run.id,
            "snapshot": snapshot_name(run.id),
            "feedback": feedback,
            "kind": kind,
            "completion": completion,
            "written_by": written_by,
        }


def taught_by(session: Session, user_id: str) -> list[str]:
    """The adapters whose snapshots had training feedback of the user, and those built on them.

    Whether a row was trained on or left out by a step of the run, the record does not know.
    """
    found: list[str] = []
    query = select(Adapter, Run).outerjoin(Run, Run.id == Adapter.run_id)
    for adapter, run in session.execute(query.order_by(Adapter.created_at, Adapter.name)):
        if adapter.parent in found or (run and _taught(session, run, user_id)):
            found.append(adapter.name)
    return found


def _taught(session: Session, run: Run, user_id: str) -> bool:
    given = (
        in_force(run.last_feedback_seq, (VERDICT, REVIEW))
        .join(Conversation, Conversation.id == Feedback.conversation_id)
        .where(Feedback.user_id == user_id, Conversation.split == "train")
        .where(or_(Conversation.deleted_at.is_(None), Conversation.deleted_at > run.created_at))
    )
    return session.scalar(given.with_only_columns(Feedback.id).limit(1)) is not None


def snapshot_name(run_id: str) -> str:
    """The folder under `snapshots/` that a run froze: one each."""
    return run_id.replace("r-", "s-")


def _events(session: Session, name: str) -> list[dict[str, Any]]:
    given = select(Deployment).where(Deployment.adapter == name).order_by(Deployment.seq)
    return [
        {
            "action": event.action,
            "by": event.by,
            "reason": event.reason,
            "facts": event.facts,
            "created_at": iso(event.created_at),
        }
        for event in session.scalars(given)
    ]


def _run(session: Session, adapter: Adapter) -> dict[str, Any] | None:
    run = session.get(Run, adapter.run_id) if adapter.run_id else None
    if run is None:
        return None
    return {
        "id": run.id,
        "state": run.state,
        "created_at": iso(run.created_at),
        "last_feedback_seq": run.last_feedback_seq,
        "snapshot": snapshot_name(run.id),
        "corpus": run.recipe.get("corpus"),
        "feedback": _counted(session, run, Feedback.kind),
        "written_by": _counted(session, run, Completion.adapter),
    }


def _counted(session: Session, run: Run, by: Any) -> dict[str, int]:
    """How much feedback of the snapshot there is, by a column."""
    wanted = _feedback_before(run).with_only_columns(by, func.count(Feedback.id.distinct()))
    found = session.execute(wanted.where(by.is_not(None)).group_by(by).order_by(by))
    return {name: count for name, count in found}


def _feedback_before(run: Run) -> Select[Any]:
    """The feedback that was in force at the snapshot, with the completions that it is about."""
    about = and_(
        Completion.turn_id == Feedback.turn_id,
        # A comparison is about all drafts of its turn.
        or_(Feedback.completion_id.is_(None), Completion.id == Feedback.completion_id),
    )
    return (
        in_force(run.last_feedback_seq)
        .join(Conversation, Conversation.id == Feedback.conversation_id)
        .outerjoin(Completion, about)
        .where(or_(Conversation.deleted_at.is_(None), Conversation.deleted_at > run.created_at))
    )
