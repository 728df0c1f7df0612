"""The registry of adapters: which there are, which one serves, and the way back."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from feedback.errors import Conflict, Invalid, NotFound, Overtaken
from feedback.ids import plausible
from feedback.moments import now
from feedback.split import percent
from feedback.tables import CANARY, CHAMPION, ID_LENGTH, Adapter, Deployment

NUMBER = re.compile(r"a-(\d+)-")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*", re.ASCII)
BASE = "base"  # what serves, and what completions name, while no adapter does


@dataclass(frozen=True)
class Canary:
    """An adapter that answers a share (0 to 1) of the conversations that begin from `since` on."""

    name: str
    path: str
    share: float
    since: datetime


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
    """Enter a trained adapter; raises Conflict when the name was ever used: names are immutable.

    Raises Invalid for a name that could be more than one part of a path or of an address, or that
    is too long.
    """
    if not NAME.fullmatch(name):
        raise Invalid(
            "name", f"An adapter's name has letters, digits, - and _ alone, unlike {name[:80]!r}."
        )
    if len(name) > ID_LENGTH:
        raise Invalid(
            "name", f"An adapter's name has {ID_LENGTH} characters at most, not {len(name)}."
        )
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
    return session.scalar(select(Adapter).where(Adapter.serving == CHAMPION))


def canary(session: Session) -> Canary | None:
    """The canary beside the champion; None while there is none."""
    adapter = session.scalar(select(Adapter).where(Adapter.serving == CANARY))
    if adapter is None:
        return None
    put_out = (
        select(Deployment)
        .where(Deployment.adapter == adapter.name, Deployment.action == "canary")
        .order_by(Deployment.seq.desc())
    )
    event = session.scalars(put_out.limit(1)).one()
    share = float((event.facts or {})["share"])
    return Canary(adapter.name, adapter.path, share, event.created_at)


def set_canary(session: Session, name: str, share: float, by: str, reason: str) -> str | None:
    """Give the adapter a share of the conversations that begin from now on.

    Gives the name of the canary that it takes the place of, which becomes retired. The share of a
    canary never changes. Raises NotFound, Invalid for a share that is none, and Conflict for an
    adapter that was rejected, is the champion, or is the canary on another share.
    """
    if not 0 < share < 1:
        raise Invalid(
            "share",
            f"share is {share:g}; a canary gets more than 0 and less than 1 of the conversations. "
            "Name one, or set REDRAFT_CANARY_SHARE.",
        )
    _lock(session)
    old = canary(session)
    if old and old.name == name:
        _same_share(old, share)
        return None
    new = _fit_to_serve(session, name)
    if new.serving == CHAMPION:
        raise Conflict(f"The adapter {name} is the champion: it cannot be its own canary.")
    if old:
        _end_canary(session, by, f"{name} takes its place", None)
    new.state, new.serving = "canary", CANARY
    serving = champion(session)
    before = serving.name if serving else None
    _log(session, name, "canary", before, by, reason, {"share": share})
    return old.name if old else None


def retire_canary(
    session: Session, name: str, by: str, reason: str, facts: Mapping[str, Any] | None = None
) -> None:
    """Take the canary out; it can be put into service again.

    Raises NotFound, and Conflict when it is none.
    """
    _lock(session)
    get_adapter(session, name)
    found = canary(session)
    if found is None or found.name != name:
        raise Conflict(
            f"The adapter {name} is not the canary{f', {found.name} is' if found else ''}. "
            "`redraft adapters list` shows what serves."
        )
    _end_canary(session, by, reason, facts)


def set_champion(
    session: Session,
    name: str | None,
    by: str,
    reason: str,
    action: str = "promote",
    facts: Mapping[str, Any] | None = None,
) -> str | None:
    """Put the adapter (None: the base model) into service; gives the name of the one before it.

    The one before becomes retired, and so does a canary, which was held against that one. `action`
    is "promote" or "rollback": the way back depends on it. Raises NotFound, and Conflict for a
    rejected adapter.
    """
    _lock(session)
    old = champion(session)
    previous = old.name if old else None
    if name == previous:
        return previous
    new = None if name is None else _fit_to_serve(session, name)
    beside = canary(session)
    if beside and beside.name != name:
        _end_canary(session, by, f"the champion changed to {name or 'the base model'}", None)
    if old:
        old.state, old.serving = "retired", None
        session.flush()  # empty the one place before it is taken again
    if new:
        new.state, new.serving = "champion", CHAMPION
    _log(session, name, action, previous, by, reason, facts)
    return previous


def expect(session: Session, name: str, state: str) -> None:
    """Raises Conflict when the adapter is in another state: somebody was faster."""
    _lock(session)
    found = get_adapter(session, name).state
    if found != state:
        raise Conflict(f"The adapter {name} is no {state} any more, but {found}.")


def expect_champion(session: Session, name: str, judged_against: str) -> None:
    """Raises Overtaken when what serves is neither that one (`base`: none) nor the adapter itself.

    A champion of another base model serves none of the adapter's, and counts as `base`.
    """
    _lock(session)
    new, serving = get_adapter(session, name), champion(session)
    serves = serving.name if serving and serving.base_model == new.base_model else BASE
    if serves not in (judged_against, name):
        raise Overtaken(
            f"The adapter {name} was judged against {judged_against}, but {serves} serves now. "
            "Run again: `redraft retrain now`."
        )


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
    """Take back what came last: (the champion now, what was taken back). Raises Conflict.

    That is the canary, where there is one: the champion stays. Else the champion before it returns.
    """
    _lock(session)
    if beside := canary(session):
        _end_canary(session, by, reason, None)
        serving = champion(session)
        return serving.name if serving else None, beside.name
    target = previous_champion(session)
    if target is None and champion(session) is None:
        raise Conflict("The base model serves; there is nothing to roll back.")
    return target, set_champion(session, target, by, reason, action="rollback")


def reject_adapter(session: Session, name: str, by: str, reason: str) -> Adapter:
    """Mark a candidate that the gate turned down: it never serves. Raises NotFound, Conflict."""
    adapter = get_adapter(session, name)
    if adapter.serving is not None:
        raise Conflict(f"The adapter {name} serves now. Roll back first.")
    adapter.state = "rejected"
    _log(session, name, "reject", None, by, reason)
    return adapter


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


def _same_share(canary: Canary, share: float) -> None:
    if canary.share != share:
        raise Conflict(
            f"The adapter {canary.name} is the canary already, on {percent(canary.share)} of new "
            "conversations. That stays, so that its votes can be compared; to begin anew, roll "
            "back first."
        )


def _end_canary(session: Session, by: str, reason: str, facts: Mapping[str, Any] | None) -> None:
    adapter = session.scalars(select(Adapter).where(Adapter.serving == CANARY)).one()
    adapter.state, adapter.serving = "retired", None
    session.flush()
    _log(session, adapter.name, "retire", None, by, reason, facts)


def _log(
    session: Session,
    name: str | None,
    action: str,
    previous: str | None,
    by: str,
    reason: str,
    facts: Mapping[str, Any] | None = None,
) -> None:
    event = Deployment(
        adapter=name,
        action=action,
        previous=previous,
        by=by,
        reason=reason,
        facts=None if facts is None else dict(facts),
        created_at=now(),
    )
    session.add(event)
    session.flush()
