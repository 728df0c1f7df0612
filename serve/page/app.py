"""The page: layout and wiring. Looks are in static/, behaviour in handlers/."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr

from serve.page.client import Client
from serve.page.dashboard import add_dashboard
from serve.page.handlers.answers import Answers
from serve.page.handlers.conversations import Conversations
from serve.page.handlers.reasoning import Reasoning
from serve.page.handlers.verdicts import Verdicts
from serve.page.languages import catalogue, languages
from serve.page.review import add_review
from serve.page.session import Session
from serve.page.visitor import as_visitor

_CHAT = (
    "morph.js", "words.js", "theme.js", "unsent.js", "composer.js", "diff.js", "editor.js",
    "details.js", "shortcuts.js", "keys.js", "signed_out.js", "chat.js",
)  # fmt: skip
_STATIC = Path(__file__).parent / "static"
_SYSTEM_FONTS = (
    "system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "PingFang SC",
    "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif",
)  # fmt: skip
_VIEWPORT = (
    '<meta name="viewport" content="width=device-width, initial-scale=1, '
    'interactive-widget=resizes-content">'
)
_MONO_FONTS = ("ui-monospace", "SF Mono", "Cascadia Mono", "Noto Sans Mono", "monospace")


def build_page(client: Client, examples: Sequence[str] = (), offer_drafts: float = 0) -> gr.Blocks:
    """The chat page over the API of `client`.

    `examples` are the questions of an empty chat; none: those of the visitor's language.
    `offer_drafts` is the share of questions that get two drafts unasked.
    """
    answers = Answers(client, tuple(examples), offer_drafts)
    conversations = Conversations(client, tuple(examples))
    verdicts = Verdicts(client, tuple(examples))
    reasoning = Reasoning(client, tuple(examples))
    with gr.Blocks(title="Redraft", analytics_enabled=False, fill_width=True) as page:
        session = gr.State(Session())
        sidebar = _part("sidebar", ["morph.js", "words.js", "sidebar.js"])
        chat = _part("chat", _CHAT)
        _wire_chat(chat, sidebar, session, answers, verdicts, reasoning, conversations)
        _wire_sidebar(chat, sidebar, session, conversations)
    add_review(page, client, _part, _on)
    add_dashboard(page, client, _part, _on)
    return page


def launch_options() -> dict[str, Any]:
    """What `Blocks.launch` needs for this look; nothing is asked of another machine."""
    looks = "".join(map(_read, ("style.css", "review.css", "dashboard.css")))
    theme = gr.themes.Base(font=list(_SYSTEM_FONTS), font_mono=list(_MONO_FONTS))
    return {
        "theme": theme,
        # Not `css`: Gradio rewrites the selectors of that one, and gets lists inside :is() wrong.
        "head": f"{_VIEWPORT}<style>{looks}</style>{_catalogues()}",
        "footer_links": [],
        "run_history": False,
        "ssr_mode": False,
        "share": False,
        "show_error": False,
        "quiet": True,
        "favicon_path": str(_STATIC / "icon.svg"),
        "max_file_size": 1,  # byte: no files are taken, should one get past the door
        "max_threads": 400,  # Gradio runs at most this many events at once
    }


def _catalogues() -> str:
    """What the browser itself says, in all languages: one document serves everybody."""
    said = {code: dict(catalogue(code)) for code in languages()}
    words = json.dumps(said, ensure_ascii=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="redraft-words">{words}</script>'


def _part(name: str, scripts: Sequence[str]) -> Any:
    return gr.HTML(
        value={},
        html_template=_read(f"{name}.html"),
        js_on_load="\n".join(_read(script) for script in scripts),
        apply_default_css=False,
        elem_id=name,
    )


def _wire_chat(
    chat: Any,
    sidebar: Any,
    session: gr.State,
    answers: Answers,
    verdicts: Verdicts,
    reasoning: Reasoning,
    conversations: Conversations,
) -> None:
    _on(chat.hello, conversations.hello, session, [chat, sidebar])
    _on(chat.language, conversations.language, session, [chat, sidebar])
    _on(chat.consent, conversations.consent, session, [chat])
    _on(chat.send, answers.send, session, [chat, sidebar])
    _on(chat.resend, answers.resend, session, [chat, sidebar])
    _on(chat.again, answers.again, session, [chat, sidebar])
    _on(chat.regenerate, answers.regenerate, session, [chat, sidebar])
    _on(chat.stop, answers.stop, session, [])
    _on(chat.rate, verdicts.rate, session, [chat])
    _on(chat.copied, verdicts.copied, session, [])
    _on(chat.detail, verdicts.detail, session, [chat])
    _on(chat.correct, verdicts.correct, session, [chat])
    _on(chat.uncorrect, verdicts.uncorrect, session, [chat])
    _on(chat.judge, verdicts.judge, session, [chat])
    _on(chat.unjudge, verdicts.unjudge, session, [chat])
    _on(chat.understand, verdicts.understand, session, [chat])
    _on(chat.misunderstand, verdicts.misunderstand, session, [chat])
    _on(chat.reason, reasoning.reason, session, [chat])
    _on(chat.fold, reasoning.fold, session, [chat])
    _on(chat.select, verdicts.select, session, [chat])


def _wire_sidebar(chat: Any, sidebar: Any, session: gr.State, handlers: Conversations) -> None:
    _on(sidebar.open, handlers.open, session, [chat, sidebar])
    _on(sidebar.retry, handlers.retry, session, [chat, sidebar])
    _on(sidebar.fresh, handlers.fresh, session, [chat, sidebar])
    _on(sidebar.rename, handlers.rename, session, [chat, sidebar])
    _on(sidebar.delete, handlers.delete, session, [chat, sidebar])
    _on(sidebar.restore, handlers.restore, session, [chat, sidebar])
    _on(sidebar.dismiss, handlers.dismiss, session, [sidebar])
    _on(sidebar.search, handlers.search, session, [sidebar])
    _on(sidebar.more, handlers.more, session, [sidebar])


def _on(event: Any, handler: Any, session: gr.State, outputs: list[Any]) -> None:
    event(
        as_visitor(handler),
        inputs=[session],
        outputs=outputs,
        show_progress="hidden",
        trigger_mode="multiple",
        concurrency_limit=None,
        api_visibility="private",
    )


@lru_cache
def _read(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")
