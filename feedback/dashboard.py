"""The numbers that operators look at, of days in UTC, from the tallies of `tallies.refresh`.

Dicts are ready for JSON. Explicit verdicts and what people did without a word stay apart.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import func, inspect, select, text
from sqlalchemy.orm import Session

from feedback.errors import Invalid
from feedback.kinds import VERDICT, kinds
from feedback.moments import iso
from feedback.shares import wilson
from feedback.tables import Tally, Turn
from feedback.tallies import ALL

STEPS = ("day", "week", "month")
SCHEDULER = "apscheduler_jobs"  # the scheduler's own table


@dataclass(frozen=True)
class Period:
    """Whole days from `first` to `last`, both in it. Raises Invalid when they are the wrong way."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise Invalid("to", f"to is {self.last}, before from ({self.first}).")

    @property
    def moments(self) -> tuple[datetime, datetime]:
        """When it begins, and when it is over."""
        begin, end = (datetime.combine(day, time(), UTC) for day in (self.first, self.last))
        return begin, end + timedelta(days=1)


def numbers(session: Session, period: Period, step: str = "day") -> dict[str, Any]:
    """All numbers of the period; `step` is the width of what they are drawn in (see `STEPS`)."""
    wanted = select(Tally).where(Tally.day.between(str(period.first), str(period.last)))
    found = session.scalars(wanted.order_by(Tally.day)).all()
    turns, verdicts = _turns(session, period), _verdicts(found)
    start = _start(step)
    return {
        "from": str(period.first),
        "to": str(period.last),
        "step": step,
        "turns": turns,
        "verdicts": verdicts,
        "satisfaction": [
            {"adapter": adapter, **_share(up, up + down)}
            for adapter, (up, down) in _thumbs(found, lambda tally: tally.adapter).items()
        ],
        "satisfaction_over_time": [
            {"adapter": adapter, **_span(day, step, period), **_share(up, up + down)}
            for (adapter, day), (up, down) in _thumbs(
                found, lambda tally: (tally.adapter, start(tally.day))
            ).items()
        ],
        "volume": list(_volume(found, period, step)),
        "comparisons": list(_comparisons(found)),
        "places": _places(found),
    }


def next_run(session: Session) -> str | None:
    """When the scheduler means to start the nightly run; None where it never was started."""
    if not inspect(session.connection()).has_table(SCHEDULER):
        return None
    query = text(f"SELECT next_run_time FROM {SCHEDULER} WHERE id = 'nightly'")  # noqa: S608
    found = session.scalar(query)
    return None if found is None else iso(datetime.fromtimestamp(float(found), UTC))


def _turns(session: Session, period: Period) -> int:
    begin, end = period.moments
    query = select(func.count()).where(Turn.created_at >= begin, Turn.created_at < end)
    return session.scalar(query) or 0


def _verdicts(found: Sequence[Tally]) -> int:
    explicit = kinds(VERDICT)
    return sum(t.count for t in found if t.kind in explicit and _is_total(t))


def _thumbs(found: Sequence[Tally], by: Callable[[Tally], Any]) -> dict[Any, tuple[int, int]]:
    """(thumbs up, thumbs down) on answers, not on reasonings."""
    counts: dict[str, Counter[Any]] = {"up": Counter(), "down": Counter()}
    for tally in found:
        if tally.kind == "rating" and tally.outcome in counts:
            counts[tally.outcome][by(tally)] += tally.count
    up, down = counts["up"], counts["down"]
    return {key: (up[key], down[key]) for key in sorted({*up, *down})}


def _volume(found: Sequence[Tally], period: Period, step: str) -> Iterator[dict[str, Any]]:
    start = _start(step)
    counts: Counter[tuple[str, str]] = Counter()
    for tally in found:
        if _is_total(tally):
            counts[start(tally.day), tally.kind] += tally.count
    for (day, kind), n in sorted(counts.items()):
        yield {"kind": kind, "explicit": kind in kinds(VERDICT), **_span(day, step, period), "n": n}


def _comparisons(found: Sequence[Tally]) -> Iterator[dict[str, Any]]:
    """By adapter: the share of those with a draft of it in which one of its drafts was picked."""
    counts: dict[str, Counter[str]] = {}
    for tally in found:
        if tally.kind == "comparison" and tally.adapter != ALL:
            counts.setdefault(tally.adapter, Counter())[tally.outcome] += tally.count
    for adapter, said in sorted(counts.items()):
        outcomes = {name: said[name] for name in ("won", "lost", "tie", "both_bad")}
        yield {"adapter": adapter, **outcomes, **_share(said["won"], sum(outcomes.values()))}


def _places(found: Sequence[Tally]) -> dict[str, Any]:
    """How often the draft shown first was picked: far from a half, the place has a say in it."""
    said = {name: 0 for name in ("first_picked", "later_picked")}
    for tally in found:
        if tally.kind == "comparison" and tally.outcome in said:
            said[tally.outcome] += tally.count
    return {**said, **_share(said["first_picked"], sum(said.values()))}


def _is_total(tally: Tally) -> bool:
    return tally.adapter == ALL and tally.outcome == ALL


def _share(good: int, n: int) -> dict[str, Any]:
    low, high = wilson(good, n)
    return {"good": good, "n": n, "share": good / n if n else None, "low": low, "high": high}


def _start(step: str) -> Callable[[str], str]:
    """From a day to the first day of the step that it is in."""
    if step not in STEPS:
        raise Invalid("step", f"step is {step!r}; it is one of {', '.join(STEPS)}.")

    def start(day: str) -> str:
        if step == "month":
            return f"{day[:7]}-01"
        found = date.fromisoformat(day)
        return str(found - timedelta(days=found.weekday())) if step == "week" else day

    return start


def _span(start: str, step: str, period: Period) -> dict[str, str]:
    """The days of a step that are in the period."""
    first = date.fromisoformat(start)
    last = first
    if step == "week":
        last = first + timedelta(days=6)
    if step == "month":
        last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return {"from": str(max(first, period.first)), "to": str(min(last, period.last))}
