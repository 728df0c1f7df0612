"""The operators' dashboard: numbers of a period, the rows behind each, and what a run waits for."""

from datetime import date, timedelta
from typing import Any

from flask import Blueprint, request

from feedback import adapters, behind, dashboard, reads, runs, tallies
from feedback.dashboard import STEPS, Period
from feedback.kinds import kinds
from feedback.moments import iso, now
from feedback.tables import Run
from serve.api.context import context
from serve.api.errors import ApiError
from serve.api.operation import operation
from serve.api.paging import PAGE, list_object, page_arguments

blueprint = Blueprint("dashboard", __name__, url_prefix="/v1/dashboard")

DAYS = 30  # of a period that is not said
COUNTED = 1000  # new events are counted up to here, or to as many as a run waits for
DAY = {"type": "string", "format": "date"}
PERIOD = {"from": DAY, "to": DAY}


@blueprint.get("")
@operation(
    role="admin",
    query={**PERIOD, "step": {"type": "string", "enum": [*STEPS], "default": "day"}},
)
def show() -> dict[str, Any]:
    """Satisfaction by adapter over time, volume and comparisons of a period.

    Days are in UTC, the last thirty where nothing is said. Shares are of thumbs or of comparisons
    in force, with Wilson's 95 % interval; `rows` lists what each number counts.
    """
    tallies.refresh(context().database)
    period, step = _period(), request.args.get("step", "day")
    with context().database.reading() as session:
        return dashboard.numbers(session, period, step)


@blueprint.get("/rows")
@operation(
    role="admin",
    query={
        **PAGE,
        **PERIOD,
        "kind": {"type": "string", "enum": [*kinds(), behind.TURN]},
        "adapter": {"type": "string"},
        "outcome": {"type": "string"},
    },
)
def rows() -> dict[str, Any]:
    """What a number counts, the newest first: of a period, kind, adapter and outcomes (a,b).

    Without a kind all verdicts, with `turn` the questions.
    """
    (limit, after), period, kind = page_arguments(), _period(), request.args.get("kind")
    outcomes = filter(None, request.args.get("outcome", "").split(","))
    with context().database.reading() as session:
        if kind == behind.TURN:
            page = behind.list_turns(session, period, limit, after)
        else:
            adapter = request.args.get("adapter", "")
            wanted = behind.Filter(period, kind, adapter, tuple(outcomes))
            page = behind.list_behind(session, wanted, limit, after)
    return list_object(page.items, page.has_more, page.last_id)


@blueprint.get("/schedule")
@operation(role="admin")
def schedule() -> dict[str, Any]:
    """When the next run starts, and what it still waits for."""
    settings = context().settings
    most = max(settings.min_events, COUNTED)
    with context().database.reading() as session:
        last = next(iter(runs.list_runs(session, 1)), None)
        new = reads.count_new_feedback(session, last.last_feedback_seq if last else 0, most)
        canary, interrupted = adapters.canary(session), runs.interrupted(session)
        return {
            "schedule": settings.schedule or None,
            "next_run": dashboard.next_run(session) if settings.schedule else None,
            "now": iso(now()),
            "running": last.id if last and last.active and interrupted is None else None,
            "interrupted": interrupted.id if interrupted else None,
            "new_events": new,
            "counted_all": new < most,
            "min_events": settings.min_events,
            "missing_events": max(0, settings.min_events - new),
            "waits_for_canary": canary.name if canary else None,
            "refused": _refused(last),
        }


def _refused(last: Run | None) -> str | None:
    """Why the last run learned nothing, where it refused to."""
    return last.message if last is not None and last.state == "refused" else None


def _period() -> Period:
    """The days asked for. Raises ApiError 400."""
    last = _day("to") or now().date()
    return Period(_day("from") or last - timedelta(days=DAYS - 1), last)


def _day(name: str) -> date | None:
    given = request.args.get(name)
    if given is None:
        return None
    try:
        found = date.fromisoformat(given)
        if found.isoformat() != given:  # a week's day, or without dashes
            raise ValueError(given)
        return found.replace(year=min(max(found.year, 2000), 2200))
    except ValueError:
        raise ApiError(
            400, f"{name} is {given!r}; it is a day such as 2026-01-31.", param=name,
            code="invalid_value",
        ) from None  # fmt: skip
