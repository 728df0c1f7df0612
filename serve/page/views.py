"""The two values the browser gets: the thread and the conversation list."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from serve.page import render
from serve.page.api_types import Summary
from serve.page.session import FOLDED, Session
from serve.page.thread import Exchange

View = dict[str, Any]


def chat_view(session: Session, examples: Sequence[str]) -> View:
    """The whole thread; the browser drops one that is older than what it shows (`revision`)."""
    past, live = session.path, session.live
    shown = past[: live.past] if live else past
    turns = [_exchange(session, e, newest=e is past[-1] and not live) for e in shown]
    if live:
        turns.append(render.live_html(live, session.words))
    title = session.conversation.title if session.conversation else ""
    return {
        "revision": session.next_revision(),
        "view": session.view,
        "conversation": session.conversation_id,
        "title": title or (past[0].query[:60] if past else "") or (live.query[:60] if live else ""),
        "busy": bool(live and live.running),
        "turns": turns,
        "empty": ""
        if turns
        else render.empty_html(tuple(examples), session.words, session.consent),
        "notice": session.notice,
        "done": dict(session.done),
    }


def list_view(session: Session, found: list[Summary], more: bool, problem: str = "") -> View:
    """The conversation list, or why there is none; `deleted` says what can be brought back."""
    gone, title = session.deleted
    html = render.list_html(
        found,
        session.conversation_id,
        session.words,
        more=more,
        search=session.search,
        now=datetime.now(UTC),
        offset=session.utc_offset,
    )
    return {
        "revision": session.next_revision(),
        "html": html,
        "problem": problem,
        "who": session.who,
        "role": session.role,
        "deleted": session.words("deleted", title=title) if gone else "",
    }


def _exchange(session: Session, exchange: Exchange, newest: bool) -> str:
    shown = session.chosen.get(exchange.key, "")
    answer = exchange.answer(shown)
    note = session.notes.get(exchange.turn(answer).id, "")
    if answer and not note:
        note = session.notes.get(answer.id, "")
    thought = session.thoughts.get(answer.id, FOLDED) if answer else FOLDED
    asked = answer is not None and answer.id == session.detail
    why = render.Why(asked, session.reasons)
    return render.exchange_html(exchange, shown, note, newest, thought, why, session.words)
