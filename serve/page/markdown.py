"""Markdown of a model or a user as HTML that can hold no script and asks for nothing outside."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererProtocol
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from serve.page.formulas import add_formulas

# Characters of code in one text; more is shown plain. Lexers can take time that grows with the
# square of the length: Python's takes seconds for this many line ends and tabs.
_HIGHLIGHT_LIMIT = 10_000
_FORMATTER = HtmlFormatter(nowrap=True)


@lru_cache(maxsize=2048)
def to_html(text: str, copy: str = "Copy") -> str:
    """Safe HTML for `text`: raw HTML shows as text, images become links, code is coloured,
    LaTeX becomes MathML.

    `copy` is what the button on a block of code says.
    """
    return str(_parser().render(text, {"copy": copy, "colours_left": _HIGHLIGHT_LIMIT}))


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    # Images are off because each would be a request to somebody else's machine.
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True})
    parser.enable(["table", "strikethrough"]).disable("image")
    add_formulas(parser)
    parser.add_render_rule("fence", _render_code)
    parser.add_render_rule("code_block", _render_code)
    parser.add_render_rule("link_open", _render_link)
    parser.render("x")  # its rules are compiled now: several threads will use it
    return parser


def _render_code(
    self: RendererProtocol, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
) -> str:
    token = tokens[idx]
    language = token.info.strip().split(" ")[0][:40] if token.info else ""
    return (
        f'<div class="code"><div class="code-head"><span>{escape(language) or "text"}</span>'
        f'<button type="button" data-act="copy-code">{escape(env["copy"])}</button></div>'
        f'<pre tabindex="0"><code>{_coloured(token.content, language, env)}</code></pre></div>'
    )


def _coloured(code: str, language: str, env: EnvType) -> str:
    if not language or len(code) > env["colours_left"]:
        return escape(code)
    env["colours_left"] -= len(code)
    try:
        return str(highlight(code, get_lexer_by_name(language), _FORMATTER))
    except ClassNotFound:
        return escape(code)


def _render_link(self: Any, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
    tokens[idx].attrSet("target", "_blank")
    tokens[idx].attrSet("rel", "noopener noreferrer nofollow")
    return str(self.renderToken(tokens, idx, options, env))
