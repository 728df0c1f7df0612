"""Exchanges and the conversation list as HTML; Jinja's autoescape is what keeps text text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from serve.page import markdown
from serve.page.api_types import Summary, other_than
from serve.page.session import FOLDED, Live, Thought
from serve.page.thread import Exchange, draft_order, in_order

NAMES = "ABCDEFGH"  # drafts are called by letters: the API allows at most eight

_ENDINGS = {
    "length": "Cut off: the answer reached its length limit.",
    "cancelled": "Stopped before its end.",
    "interrupted": "The answer broke off.",
}


@lru_cache(maxsize=1)
def _templates() -> Environment:
    folder = Path(__file__).parent / "templates"
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["markdown"] = lambda text: Markup(markdown.to_html(text))  # noqa: S704
    return environment


@lru_cache(maxsize=1024)
def exchange_html(
    exchange: Exchange, shown: str, note: str, newest: bool, thought: Thought = FOLDED
) -> str:
    """A question with the answer that stands, or with the drafts that wait for a verdict."""
    open_turn = exchange.undecided if newest and not shown else None
    if open_turn:
        drafts = in_order(open_turn)
        return _render("drafts.html", exchange=exchange, turn=open_turn, drafts=drafts, note=note)
    answer, answers = exchange.answer(shown), exchange.answers
    place = answers.index(answer) if answer else 0
    return _render(
        "answer.html", exchange=exchange, answer=answer, answers=answers, place=place,
        turn=exchange.turn(answer) if answer else exchange.turns[-1], note=note, newest=newest,
        thought=thought,
    )  # fmt: skip


def live_html(live: Live) -> str:
    """The exchange in progress: its text so far, or what went wrong in words."""
    texts = live.texts
    if live.started and live.drafts > 1:
        texts = [texts[draft] for draft in draft_order(live.started.turn_id, live.drafts)]
    understood = other_than(live.query, live.started.rewritten_query) if live.started else ""
    return _render("live.html", live=live, texts=texts, understood=understood)


def login_html(problem: str, name: str) -> str:
    """The whole document of the sign-in form."""
    return _render("login.html", problem=problem, name=name)


def empty_html(examples: Sequence[str]) -> str:
    """What a new conversation shows."""
    return _render("empty.html", examples=examples)


def list_html(
    found: Sequence[Summary], current: str, *, more: bool, search: str, now: datetime, offset: int
) -> str:
    """The conversation list by day; `offset` is the reader's clock, in minutes east of UTC."""
    groups: dict[str, list[Summary]] = {}
    for summary in found:
        groups.setdefault(day_name(summary.updated, now, offset), []).append(summary)
    return _render("list.html", groups=groups, current=current, more=more, search=search)


def day_name(moment: datetime, now: datetime, offset: int) -> str:
    """Today, Yesterday or Earlier, on the reader's clock."""
    shift = timedelta(minutes=offset)
    days = ((now + shift).date() - (moment.astimezone(UTC) + shift).date()).days
    return "Today" if days <= 0 else "Yesterday" if days == 1 else "Earlier"


def _render(template: str, **values: object) -> str:
    return _templates().get_template(template).render(names=NAMES, endings=_ENDINGS, **values)
