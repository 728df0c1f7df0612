"""The registry of adapters: which there are, which one serves, and the way back."""

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from feedback.errors import Conflict, NotFound
from feedback.ids import plausible
from feedback.moments import iso, now
from feedback.tables import WITHDRAWAL, Adapter, Deployment, Feedback, Run

NUMBER = re.compile(r"a-(\d+)-")


def register_adapter(
    session: Session,
    *,
    name: str,
    base_model: str,
    path: str,
    digest: str,
    parent: str | None = None,
    run_id: str | None = None,
    state: str = "candidate",
) -> Adapter:
    """Enter a trained adapter; raises Conflict when the name was ever used: names are immutable."""
    adapter = Adapter(
        name=name,
        base_model=base_model,
        parent=parent,
        run_id=run_id,
        path=path,
        digest=digest,
        state=state,
        created_at=now(),
    )
    try:
        with session.begin_nested():
            session.add(adapter)
    except IntegrityError as error:
        raise Conflict(
            f"The adapter {name} cannot be registered: its name is taken, or its parent or run "
            "does not exist. Names are immutable; train under a new one."
        ) from error
    return adapter


def get_adapter(session: Session, name: str) -> Adapter:
    """The adapter of that name; raises NotFound."""
    adapter = session.get(Adapter, plausible(name))
    if adapter is None:
        raise NotFound("adapter", name)
    return adapter


def list_adapters(session: Session) -> Sequence[Adapter]:
    """All adapters, the newest first."""
    return session.scalars(
        select(Adapter).order_by(Adapter.created_at.desc(), Adapter.name.desc())
    ).all()


def next_adapter_number(session: Session) -> int:
    """One more than the highest number in a name (a-0007-3f9c1e is 7)."""
    found = (NUMBER.match(name) for name in session.scalars(select(Adapter.name)))
    return 1 + max((int(match[1]) for match in found if match), default=0)


def champion(session: Session) -> Adapter | None:
    """The adapter in service; None while the base model serves."""
    return session.scalar(select(Adapter).where(Adapter.serving == 1))


def set_champion(
    session: Session, name: str | None, by: str, reason: str, action: str = "promote"
) -> str | None:
    """Put the adapter (None: the base model) into service; gives the name of the one before it.

    The one before becomes retired. `action` is "promote" or "rollback": the way back depends on it.
    Raises NotFound, and Conflict for a rejected adapter.
    """
    _lock(session)
    old = champion(session)
    previous = old.name if old else None
    if name == previous:
        return previous
    new = None if name is None else _fit_to_serve(session, name)
    if old:
        old.state, old.serving = "retired", None
        session.flush()  # empty the one place before it is taken again
    if new:
        new.state, new.serving = "champion", 1
    _log(session, name, action, previous, by, reason)
    return previous


def previous_champion(session: Session) -> str | None:
    """What a rollback goes back to, None being the base model. n rollbacks go back n steps."""
    served: list[str | None] = [None]
    for event in session.scalars(select(Deployment).order_by(Deployment.seq)):
        if event.action == "promote":
            served.append(event.adapter)
        elif event.action == "rollback" and len(served) > 1:
            _go_back(served, event.adapter)
    return served[-2] if len(served) > 1 else None


def _go_back(served: list[str | None], to: str | None) -> None:
    served.pop()
    while len(served) > 1 and served[-1] != to:
        served.pop()


def rollback(session: Session, by: str, reason: str) -> tuple[str | None, str | None]:
    """Put back what served before: (what serves now, what served). Raises Conflict."""
    _lock(session)
    target = previous_champion(session)
    if target is None and champion(session) is None:
        raise Conflict("The base model serves; there is nothing to roll back.")
    return target, set_champion(session, target, by, reason, action="rollback")


def reject_adapter(session: Session, name: str, by: str, reason: str) -> Adapter:
    """Mark a candidate that the gate turned down: it never serves. Raises NotFound, Conflict."""
    adapter = get_adapter(session, name)
    if adapter.state == "champion":
        raise Conflict(f"The adapter {name} serves now. Roll back first.")
    adapter.state = "rejected"
    _log(session, name, "reject", None, by, reason)
    return adapter


def lineage(session: Session, name: str) -> dict[str, Any]:
    """Where an adapter comes from: its run, the feedback before it, its parents up to the base."""
    adapter = get_adapter(session, name)
    return {
        "name": adapter.name,
        "state": adapter.state,
        "base_model": adapter.base_model,
        "digest": adapter.digest,
        "created_at": iso(adapter.created_at),
        "run": _origin(session, adapter.run_id),
        "parent": lineage(session, adapter.parent) if adapter.parent else None,
    }


def _lock(session: Session) -> None:
    # One change of champion after the other; in one order, so that none waits in a ring.
    session.scalars(
        select(Adapter)
        .order_by(Adapter.name)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()


def _fit_to_serve(session: Session, name: str) -> Adapter:
    adapter = get_adapter(session, name)
    if adapter.state == "rejected":
        raise Conflict(
            f"The adapter {name} was rejected and never serves. `redraft adapters lineage {name}` "
            "says which run made it; train a new one instead."
        )
    return adapter


def _log(
    session: Session, name: str | None, action: str, previous: str | None, by: str, reason: str
) -> None:
    event = Deployment(
        adapter=name, action=action, previous=previous, by=by, reason=reason, created_at=now()
    )
    session.add(event)
    session.flush()


def _origin(session: Session, run_id: str | None) -> dict[str, Any] | None:
    run = session.get(Run, run_id) if run_id else None
    if run is None:
        return None
    given = select(func.count()).where(
        Feedback.seq <= run.last_feedback_seq, Feedback.kind != WITHDRAWAL
    )
    return {
        "id": run.id,
        "state": run.state,
        "created_at": iso(run.created_at),
        "last_feedback_seq": run.last_feedback_seq,
        "feedback": session.scalar(given),
    }
