"""How much feedback in force each day has, counted ahead: what the dashboard's numbers come from.

A day is counted anew when an event came since that is of it, or takes back or replaces feedback of
it; all other days stay. What counts is said by each kind's `outcomes`, and `events_of` gives the
very events behind a number.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Select, delete, func, insert, select
from sqlalchemy.orm import Session, aliased

from feedback.database import Database
from feedback.kinds import GROUPS, load_kind
from feedback.reads import in_force, last_feedback_seq
from feedback.tables import WITHDRAWAL, Completion, Feedback, Tally, TallyMark

ALL = ""  # the adapter and the outcome of the count of everything of a kind
BATCH = 500
COLUMNS = (
    Feedback.id, Feedback.seq, Feedback.kind, Feedback.user_id, Feedback.turn_id,
    Feedback.completion_id, Feedback.conversation_id, Feedback.payload, Feedback.created_at,
)  # fmt: skip
Key = tuple[str, str, str]  # kind, adapter, outcome


@dataclass(frozen=True)
class Event:
    """A row of feedback in force, and the adapters of the answers that it judges, by their ids."""

    id: str
    seq: int
    kind: str
    user_id: str
    turn_id: str
    completion_id: str | None
    conversation_id: str
    payload: dict[str, Any]
    created_at: datetime
    adapters: Mapping[str, str]

    @property
    def counts(self) -> set[tuple[str, str]]:
        """The (adapter, outcome) under which it is counted; (ALL, ALL) is among them."""
        return {(ALL, ALL), *load_kind(self.kind).outcomes(self.payload, self.adapters)}


@dataclass(frozen=True)
class _Fresh:
    """What the tallies of the days that changed are, at one moment of the record."""

    since: int  # the mark that it goes on from
    counted: bool  # up to that mark; False: all days are here
    upto: int
    events: int
    days: dict[str, Counter[Key]]


def refresh(database: Database) -> None:
    """Count what came since the last time. Readers wait for nobody, writers for a moment."""
    with database.reading() as session:
        fresh = _count_anew(session)
    if fresh is None:
        return
    with database.session() as session:
        mark = session.get_one(TallyMark, 1, with_for_update=True)
        if mark.seq != fresh.since:  # somebody else did it meanwhile
            return
        stale = delete(Tally)
        session.execute(stale.where(Tally.day.in_(fresh.days)) if fresh.counted else stale)
        for day, found in fresh.days.items():
            _insert(session, day, found)
        mark.seq, mark.events = fresh.upto, fresh.events


def events_of(session: Session, day: str, kinds: Sequence[str] = ()) -> Iterator[Event]:
    """The feedback in force of a day (YYYY-MM-DD in UTC), the newest first; of these or all kinds.

    A row that two adapters' answers were compared in is one event.
    """
    begin = datetime.combine(date.fromisoformat(day), time(), UTC)
    end = begin + timedelta(days=1)
    wanted = in_force(groups=GROUPS).where(Feedback.created_at >= begin, Feedback.created_at < end)
    if kinds:
        wanted = wanted.where(Feedback.kind.in_(kinds))
    yield from _events(session, wanted.order_by(Feedback.created_at.desc(), Feedback.seq.desc()))


def events_with(session: Session, ids: Sequence[str]) -> list[Event]:
    """The feedback with these ids, in force or not, in their order; unknown ids are left out."""
    found = {
        event.id: event for event in _events(session, select(Feedback).where(Feedback.id.in_(ids)))
    }
    return [found[id] for id in ids if id in found]


def _events(session: Session, wanted: Select[Any]) -> Iterator[Event]:
    for rows in session.execute(wanted.with_only_columns(*COLUMNS)).partitions(BATCH):
        written = _adapters(session, {row.turn_id for row in rows})
        for row in rows:
            judged = row.payload.get("shown") or [row.completion_id]
            adapters = {id: written[id] for id in judged if id in written}
            yield Event(**row._mapping, adapters=adapters)


def _adapters(session: Session, turn_ids: set[str]) -> dict[str, str]:
    """The adapter of each completion of the turns."""
    query = select(Completion.id, Completion.adapter).where(Completion.turn_id.in_(turn_ids))
    return {id: adapter for id, adapter in session.execute(query)}


def _count_anew(session: Session) -> _Fresh | None:
    """The tallies of the days that changed; None where nothing did."""
    mark = session.get_one(TallyMark, 1)
    last, events = last_feedback_seq(session), _how_many(session)
    known = events - _how_many(session, mark.seq)
    if last == mark.seq and known == mark.events:
        return None
    # A transaction that took long gave its events lower numbers than what was counted before it.
    counted = 0 < mark.events == known
    touched = _touched(session, mark.seq if counted else 0)
    days = {day: _count(session, day) for day in sorted(touched)}
    return _Fresh(mark.seq, counted, last, events, days)


def _how_many(session: Session, after: int = 0) -> int:
    query = select(func.count()).select_from(Feedback)
    return session.scalar(query.where(Feedback.seq > after) if after else query) or 0


def _touched(session: Session, since: int) -> set[str]:
    """The days of the events after `since`, and of what they replace or take back."""
    new, old = aliased(Feedback), aliased(Feedback)
    own = select(func.date(Feedback.created_at)).distinct()
    if not since:
        return {str(day) for day in session.scalars(own)}
    of_old = select(func.date(old.created_at)).distinct()
    replaced = of_old.join(
        new,
        (new.user_id == old.user_id)
        & (new.kind == old.kind)
        & (new.target_id == old.target_id)
        & (new.seq > old.seq),
    ).where(new.seq > since)
    withdrawn = of_old.join(new, new.withdraws == old.id)
    withdrawn = withdrawn.where(new.seq > since, new.kind == WITHDRAWAL)
    queries = (own.where(Feedback.seq > since), replaced, withdrawn)
    return {str(day) for query in queries for day in session.scalars(query)}


def _count(session: Session, day: str) -> Counter[Key]:
    events = events_of(session, day)
    return Counter((event.kind, *counted) for event in events for counted in event.counts)


def _insert(session: Session, day: str, found: Counter[Key]) -> None:
    rows = [
        {"day": day, "kind": kind, "adapter": adapter, "outcome": outcome, "count": count}
        for (kind, adapter, outcome), count in found.items()
    ]
    if rows:
        session.execute(insert(Tally), rows)
