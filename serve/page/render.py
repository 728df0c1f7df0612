"""Exchanges and the conversation list as HTML; Jinja's autoescape is what keeps text text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from serve.page import markdown
from serve.page.api_types import Conversation, Reason, Summary, other_than
from serve.page.languages import Words
from serve.page.session import FOLDED, Live, Thought
from serve.page.thread import Exchange, draft_order, in_order

ENGLISH = Words()
NAMES = "ABCDEFGH"  # drafts are called by letters: the API allows at most eight

_LONG = 5_000  # characters; their Markdown can take a tenth of a second, and more
_ENDINGS = ("length", "cancelled", "interrupted")  # those that are told; see languages/


@dataclass(frozen=True)
class Why:
    """Whether it is asked why a thumb was given, and the reasons to choose from."""

    asked: bool = False
    reasons: tuple[Reason, ...] = ()


SILENT = Why()


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
    environment.filters["markdown"] = _markdown
    return environment


@lru_cache(maxsize=1024)
def exchange_html(
    exchange: Exchange,
    shown: str,
    note: str,
    newest: bool,
    thought: Thought = FOLDED,
    why: Why = SILENT,
    words: Words = ENGLISH,
) -> str:
    """A question with the answer that stands, or with the drafts that wait for a verdict.

    `why`: whether it is asked why that answer was rated as it is, and what can be answered.
    """
    open_turn = exchange.undecided if newest and not shown else None
    if open_turn:
        drafts = in_order(open_turn)
        return render(
            "drafts.html", words, exchange=exchange, turn=open_turn, drafts=drafts, note=note
        )
    answer, answers = exchange.answer(shown), exchange.answers
    place = answers.index(answer) if answer else 0
    return render(
        "answer.html", words, exchange=exchange, answer=answer, answers=answers, place=place,
        turn=exchange.turn(answer), note=note, newest=newest,
        thought=thought, asked=why.asked, reasons=why.reasons,
        labels={reason.key: reason.label(words.language) for reason in why.reasons},
    )  # fmt: skip


def draw_long(conversation: Conversation, words: Words = ENGLISH) -> None:
    """Have the HTML of long answers ready, for a caller that may not wait when it shows them."""
    completions = (c for turn in conversation.turns for c in turn.completions)
    texts = {text for c in completions for text in (c.shown_text, c.text) if len(text) > _LONG}
    for text in texts:
        markdown.to_html(text, words("copy"))


def live_html(live: Live, words: Words = ENGLISH) -> str:
    """The exchange in progress: its text so far, or what went wrong in words."""
    texts = live.texts
    if live.started and live.drafts > 1:
        texts = [texts[draft] for draft in draft_order(live.started.turn_id, live.drafts)]
    understood = other_than(live.query, live.started.rewritten_query) if live.started else ""
    return render("live.html", words, live=live, texts=texts, understood=understood)


def login_html(problem: str, name: str, words: Words = ENGLISH) -> str:
    """The whole document of the sign-in form."""
    return render("login.html", words, problem=problem, name=name)


def empty_html(examples: Sequence[str], words: Words = ENGLISH, consent: bool | None = None) -> str:
    """What a new conversation shows; without `examples` those of the language."""
    shown = examples or [words(f"example_{number}") for number in (1, 2, 3)]
    return render("empty.html", words, examples=shown, consent=consent)


def list_html(
    found: Sequence[Summary],
    current: str,
    words: Words = ENGLISH,
    *,
    more: bool,
    search: str,
    now: datetime,
    offset: int,
) -> str:
    """The conversation list by day; `offset` is the reader's clock, in minutes east of UTC."""
    groups: dict[str, list[Summary]] = {}
    for summary in found:
        groups.setdefault(day_name(summary.updated, now, offset), []).append(summary)
    return render("list.html", words, groups=groups, current=current, more=more, search=search)


def day_name(moment: datetime, now: datetime, offset: int) -> str:
    """today, yesterday or earlier, on the reader's clock."""
    shift = timedelta(minutes=offset)
    days = ((now + shift).date() - (moment.astimezone(UTC) + shift).date()).days
    return "today" if days <= 0 else "yesterday" if days == 1 else "earlier"


def render(template: str, words: Words, **values: object) -> str:
    """A template of the page, filled; `t` in it are the words."""
    made = _templates().get_template(template)
    return made.render(names=NAMES, endings=_ENDINGS, t=words, **values)


@pass_context
def _markdown(context: Context, text: str) -> Markup:
    return Markup(markdown.to_html(text, context["t"]("copy")))  # noqa: S704
