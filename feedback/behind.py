"""The rows behind a number of the dashboard: the same filter, one row for each that was counted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from feedback.dashboard import Period
from feedback.fields import mended
from feedback.ids import plausible
from feedback.kinds import VERDICT, kinds, load_kind
from feedback.moments import iso
from feedback.reads import Page, checked_limit, page_of, unknown_cursor
from feedback.tables import Completion, Conversation, Tally, Turn, User
from feedback.tallies import ALL, Event, events_of, events_with

LONGEST = 2000  # characters of a text in a list
TURN = "turn"  # the kind of a row that is a question and no feedback


@dataclass(frozen=True)
class Filter:
    """What is counted: feedback in force of the period, and of it what these say.

    `kind` None is all verdicts; adapter "" is any; no outcomes are any. Raises Invalid for a kind
    that there is not.
    """

    period: Period
    kind: str | None = None
    adapter: str = ALL
    outcomes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind is not None:
            load_kind(self.kind)

    @property
    def kinds(self) -> tuple[str, ...]:
        return kinds(VERDICT) if self.kind is None else (self.kind,)

    def takes(self, event: Event) -> bool:
        """Whether an event of these kinds is one of them."""
        return any(
            (self.adapter in (ALL, adapter)) and (not self.outcomes or outcome in self.outcomes)
            for adapter, outcome in event.counts
        )


def list_behind(
    session: Session, wanted: Filter, limit: int = 20, after: str | None = None
) -> Page:
    """The feedback that a number counts, the newest first. Raises Invalid."""
    last = None if after is None else _event_after(session, after)
    found = islice(_events(session, wanted, last), checked_limit(limit) + 1)
    return page_of(_described(session, list(found)), limit)


def list_with(session: Session, ids: Sequence[str]) -> list[dict[str, Any]]:
    """The feedback with these ids as `list_behind` shows it, in force or not, in their order."""
    return _described(session, events_with(session, ids))


def list_turns(session: Session, period: Period, limit: int = 20, after: str | None = None) -> Page:
    """The questions of the period, the newest first. Raises Invalid."""
    begin, end = period.moments
    wanted = select(Turn).where(Turn.created_at >= begin, Turn.created_at < end)
    if after is not None:
        last = session.get(Turn, plausible(after))
        if last is None:
            raise unknown_cursor(after)
        same = and_(Turn.created_at == last.created_at, Turn.id < last.id)
        wanted = wanted.where(or_(Turn.created_at < last.created_at, same))
    ordered = wanted.order_by(Turn.created_at.desc(), Turn.id.desc()).limit(
        checked_limit(limit) + 1
    )
    turns = session.scalars(ordered).all()
    talks = _conversations(session, {turn.conversation_id for turn in turns})
    drafts = _answers(session, {turn.id for turn in turns})
    users = _users(session, {talk.user_id for talk in talks.values()})
    rows = [
        {
            "id": turn.id,
            "kind": TURN,
            "created_at": iso(turn.created_at),
            "user": users.get(talks[turn.conversation_id].user_id),
            "adapters": sorted({d.adapter for d in drafts.get(turn.id, [])}),
            "outcomes": [],
            "payload": {},
            **_texts(turn, drafts.get(turn.id, [])[:1], talks[turn.conversation_id]),
        }
        for turn in turns
    ]
    return page_of(rows, limit)


def _event_after(session: Session, id: str) -> Event:
    found = events_with(session, [plausible(id)])
    if not found:
        raise unknown_cursor(id)
    return found[0]


def _events(session: Session, wanted: Filter, last: Event | None) -> Iterator[Event]:
    """The events after `last`, from the days that the tallies say have some."""
    for day in _days(session, wanted, last):
        for event in events_of(session, day, wanted.kinds):
            past = last and (event.created_at, event.seq) >= (last.created_at, last.seq)
            if not past and wanted.takes(event):
                yield event


def _days(session: Session, wanted: Filter, last: Event | None) -> Sequence[str]:
    period = wanted.period
    query = (
        select(Tally.day)
        .distinct()
        .where(Tally.kind.in_(wanted.kinds), Tally.day.between(str(period.first), str(period.last)))
    )
    if wanted.adapter != ALL:
        query = query.where(Tally.adapter == mended(wanted.adapter))
    if wanted.outcomes:
        query = query.where(Tally.outcome.in_([mended(said) for said in wanted.outcomes]))
    if last is not None:
        query = query.where(Tally.day <= iso(last.created_at)[:10])
    return session.scalars(query.order_by(Tally.day.desc())).all()


def _described(session: Session, events: Sequence[Event]) -> list[dict[str, Any]]:
    ids = {event.turn_id for event in events}
    turns = {turn.id: turn for turn in session.scalars(select(Turn).where(Turn.id.in_(ids)))}
    talks = _conversations(session, {event.conversation_id for event in events})
    users, drafts = _users(session, {event.user_id for event in events}), _answers(session, ids)
    rows = []
    for event in events:
        judged = event.payload.get("shown") or [event.completion_id]
        answers = [d for d in drafts.get(event.turn_id, []) if d.id in judged]
        talk = talks[event.conversation_id]
        rows.append(
            {
                "id": event.id,
                "kind": event.kind,
                "created_at": iso(event.created_at),
                "user": users.get(event.user_id),
                "adapters": sorted(set(event.adapters.values())),
                "outcomes": sorted({said for _, said in event.counts if said}),
                "payload": {} if talk.deleted_at else _shortened(event.payload),
                **_texts(turns[event.turn_id], answers, talk),
            }
        )
    return rows


def _texts(turn: Turn, answers: Sequence[Completion], talk: Conversation) -> dict[str, Any]:
    """What was asked and answered; nothing of a conversation that its owner deleted."""
    if talk.deleted_at:
        return {"deleted": True, "question": None, "answers": []}
    told = [{"id": a.id, "adapter": a.adapter, "text": a.text[:LONGEST]} for a in answers]
    return {"deleted": False, "question": turn.query[:LONGEST], "answers": told}


def _shortened(payload: dict[str, Any]) -> dict[str, Any]:
    return {k: v[:LONGEST] if isinstance(v, str) else v for k, v in payload.items()}


def _conversations(session: Session, ids: set[str]) -> dict[str, Conversation]:
    found = session.scalars(select(Conversation).where(Conversation.id.in_(ids)))
    return {talk.id: talk for talk in found}


def _users(session: Session, ids: set[str]) -> dict[str, str]:
    query = select(User.id, User.name).where(User.id.in_(ids))
    return {id: name for id, name in session.execute(query)}


def _answers(session: Session, turn_ids: set[str]) -> dict[str, list[Completion]]:
    query = select(Completion).where(Completion.turn_id.in_(turn_ids)).order_by(Completion.draft)
    found: dict[str, list[Completion]] = {}
    for draft in session.scalars(query):
        found.setdefault(draft.turn_id, []).append(draft)
    return found
