"""The runs: one at a time, known to be alive by a heartbeat, taken up again after a crash."""

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import psutil
from sqlalchemy import func, select, type_coerce
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from feedback.errors import Conflict, Invalid, NotFound
from feedback.ids import plausible
from feedback.moments import iso
from feedback.reads import last_feedback_seq
from feedback.tables import Moment, Run

SILENCE = timedelta(seconds=120)
ENDS = ("interrupted", "promoted", "rejected", "refused", "failed")
CLOCKS = {
    "sqlite": func.strftime("%Y-%m-%d %H:%M:%f000", "now"),  # %f ends at the millisecond
    "postgresql": func.timezone("UTC", func.clock_timestamp()),
}
MYSQL_CLOCK = func.utc_timestamp(6)


def claim_run(session: Session, recipe: Mapping[str, Any]) -> Run:
    """A new run of this process in the one slot; raises Conflict when another run holds it."""
    if holder := _holder(session):
        raise _taken(session, holder)
    moment = _present(session)
    run = Run(
        id=f"r-{_last_number(session) + 1:04d}",
        state="running",
        step="",
        progress={},
        recipe=dict(recipe),
        message="",
        active=1,
        pid=os.getpid(),
        host=socket.gethostname(),
        heartbeat=moment,
        created_at=moment,
        last_feedback_seq=last_feedback_seq(session),
    )
    try:
        with session.begin_nested():
            session.add(run)
    except IntegrityError as error:  # claimed by another process since we looked
        raise _taken(session, _holder(session)) from error
    return run


def heartbeat(
    session: Session,
    run_id: str,
    step: str,
    progress: Mapping[str, Any],
    *,
    last_feedback_seq: int | None = None,
) -> Run:
    """Say that the run is alive and where it is, at least every 120 s.

    `last_feedback_seq` is set when the snapshot is frozen. A run claimed by this process's parent,
    or by a process that is gone, becomes this process's own. Raises Conflict when the run has ended
    or another process took it up: then stop.
    """
    run = hold_run(session, run_id)
    _own(session, run)
    run.step, run.progress = step, dict(progress)
    if last_feedback_seq is not None:
        run.last_feedback_seq = last_feedback_seq
    return run


def hold_run(session: Session, run_id: str) -> Run:
    """The run, which stays this process's own until the session ends. Raises Conflict as above."""
    run = _locked(session, run_id)
    if run.active is None:
        raise Conflict(f"The run {run_id} has ended ({run.state}). This process must stop.")
    if not _is_ours(run):
        raise Conflict(
            f"The run {run_id} was taken up by process {run.pid} on {run.host}. "
            "This process must stop."
        )
    return run


def finish_run(
    session: Session, run_id: str, state: str, message: str, adapter: str | None = None
) -> Run:
    """End the run, whoever's it is, and free the slot; an interrupted one can be resumed.

    Raises NotFound.
    """
    if state not in ENDS:
        raise Invalid("state", f"state is {state!r}; a run ends as one of {', '.join(ENDS)}.")
    run = _locked(session, run_id)
    run.state, run.message, run.active = state, message, None
    run.adapter = adapter or run.adapter
    run.finished_at = None if state == "interrupted" else _present(session)
    return run


def interrupted(session: Session) -> Run | None:
    """The run to resume: one whose process is gone, or the newest one if it was interrupted."""
    if holder := _holder(session):
        return None if _is_alive(session, holder) else holder
    newest = session.scalar(_newest_first().limit(1))
    return newest if newest is not None and newest.state == "interrupted" else None


def resume_run(session: Session, run_id: str) -> Run:
    """Take up an interrupted run in this process; raises NotFound, Conflict."""
    run = _locked(session, run_id)
    if run.active is not None and _is_alive(session, run) and not _is_ours(run):
        raise _taken(session, run)
    if run.active is None and run.state != "interrupted":
        raise Conflict(f"The run {run_id} has ended ({run.state}); there is nothing to resume.")
    holder = _holder(session)
    if holder is not None and holder.id != run_id:
        raise _taken(session, holder)
    run.state, run.active, run.message = "running", 1, ""
    _own(session, run)
    try:
        session.flush()
    except IntegrityError as error:  # claimed by another process since we looked
        raise Conflict("Another run has started at this moment. Try again when it ends.") from error
    return run


def get_run(session: Session, run_id: str) -> Run:
    """The run of that id; raises NotFound."""
    run = session.get(Run, plausible(run_id))
    if run is None:
        raise NotFound("run", run_id)
    return run


def list_runs(session: Session, limit: int = 50) -> Sequence[Run]:
    """The newest runs, the newest first."""
    return session.scalars(_newest_first().limit(limit)).all()


def _newest_first() -> Any:
    return select(Run).order_by(func.length(Run.id).desc(), Run.id.desc())


def _last_number(session: Session) -> int:
    newest = session.scalar(_newest_first().limit(1))
    return int(newest.id.removeprefix("r-")) if newest else 0


def _holder(session: Session) -> Run | None:
    return session.scalar(select(Run).where(Run.active == 1))


def _locked(session: Session, run_id: str) -> Run:
    query = select(Run).where(Run.id == plausible(run_id)).with_for_update()
    run = session.scalar(query.execution_options(populate_existing=True))
    if run is None:
        raise NotFound("run", run_id)
    return run


def _own(session: Session, run: Run) -> None:
    run.pid, run.host, run.heartbeat = os.getpid(), socket.gethostname(), _present(session)


def _present(session: Session) -> datetime:
    """By the database's clock: those of two hosts may differ by more than SILENCE."""
    clock = CLOCKS.get(session.get_bind().dialect.name, MYSQL_CLOCK)
    return session.execute(select(type_coerce(clock, Moment))).scalar_one()


def _is_ours(run: Run) -> bool:
    here = run.host == socket.gethostname()
    return here and (run.pid in (os.getpid(), os.getppid()) or not _exists(run.pid))


def _is_alive(session: Session, run: Run) -> bool:
    """Whether its process works on: heard from lately and, where that can be seen, still there."""
    return _present(session) - run.heartbeat <= SILENCE and may_exist(run)


def may_exist(run: Run) -> bool:
    """Whether the run's process is still there, as far as can be seen from this host."""
    return run.host != socket.gethostname() or _exists(run.pid)


def _exists(pid: int) -> bool:
    try:
        # A process that ended and was not collected still has its number, but does nothing.
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _taken(session: Session, run: Run | None) -> Conflict:
    if run is None:
        return Conflict("Another run has started at this moment. Try again when it ends.")
    if _is_alive(session, run):
        return Conflict(
            f"Run {run.id} is running since {iso(run.created_at)} (process {run.pid} on "
            f"{run.host}). Wait until it ends: `redraft retrain status` shows how far it is."
        )
    return Conflict(
        f"Run {run.id} was interrupted at step {run.step or 'start'}: its process {run.pid} on "
        f"{run.host} is gone. Go on with `redraft retrain resume`."
    )
