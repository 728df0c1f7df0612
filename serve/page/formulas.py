"""LaTeX between $, $$, \\( \\) or \\[ \\] as MathML, which browsers draw by themselves.

latex2mathml lets tags and links of its input through, so its tree is written anew: only elements
and attributes of presentation, all text escaped.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from html import escape, unescape
from typing import Any
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert_to_element
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererProtocol
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from mdit_py_plugins.dollarmath import dollarmath_plugin

# Characters and lines. A longer formula is shown as it was written; and as each sign may begin one,
# what is looked at after it has to end long before the text does.
_LONGEST, _MOST_LINES = 4000, 200
_DEEPEST = 40  # braces within braces
_CLOSED = {"\\(": "\\)", "\\[": "\\]"}
_TAGS = frozenset(
    "math mrow mi mn mo mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover "
    "mtable mtr mtd mstyle mpadded mphantom menclose mmultiscripts mprescripts none".split()
)
_ATTRIBUTES = frozenset(
    "display displaystyle scriptlevel mathvariant mathsize stretchy fence form separator accent "
    "accentunder largeop movablelimits symmetric lspace rspace minsize maxsize linethickness "
    "columnalign columnlines rowlines columnspacing rowspacing width height depth notation".split()
)


def add_formulas(parser: MarkdownIt) -> None:
    """Teach the parser formulas. A dollar sign beside a digit outside is money."""
    dollarmath_plugin(
        parser, allow_labels=False, allow_space=False, allow_digits=False, double_inline=True
    )
    parser.block.ruler.at("math_block", _dollar_block)  # the plugin's looks on to the text's end
    parser.inline.ruler.before("escape", "bracket_math", _between_brackets)
    parser.block.ruler.before("fence", "bracket_block", _bracket_block, {"alt": ["paragraph"]})
    parser.add_render_rule("math_inline", _inline)
    for name in ("math_inline_double", "math_block"):
        parser.add_render_rule(name, _block)


def to_mathml(latex: str, display: str) -> str:
    """The formula for an HTML document, `display` inline or block; as written if it cannot be."""
    latex = latex.strip()
    if len(latex) > _LONGEST or latex.count("{") > _LONGEST // 10 or _depth(latex) > _DEEPEST:
        return f"<code>{escape(latex)}</code>"
    try:
        return _written(convert_to_element(latex, display=display))
    except Exception:  # of many kinds: what a model writes is not always LaTeX
        return f"<code>{escape(latex)}</code>"


def _between_brackets(state: StateInline, silent: bool) -> bool:
    """A rule of markdown-it: \\( \\) or \\[ \\] within a paragraph."""
    opened = state.src[state.pos : state.pos + 2]
    if opened not in _CLOSED:
        return False
    end = state.src.find(_CLOSED[opened], state.pos + 2, state.pos + 2 + _LONGEST)
    if end < 0:
        return False
    if not silent:
        kind = "math_inline" if opened == "\\(" else "math_inline_double"
        state.push(kind, "math", 0).content = state.src[state.pos + 2 : end]
    state.pos = end + 2
    return True


def _bracket_block(state: StateBlock, first: int, end: int, silent: bool) -> bool:
    """A rule of markdown-it: \\[ begins a line, \\] ends this or a later one of the paragraph."""
    last = _last_line(state, first, end, "\\[", "\\]")
    if last is None or any(map(state.isEmpty, range(first, last))):
        return False
    return silent or _push_block(state, first, last)


def _dollar_block(state: StateBlock, first: int, end: int, silent: bool) -> bool:
    """A rule of markdown-it: $$ begins a line, $$ ends this or a later one."""
    last = _last_line(state, first, end, "$$", "$$")
    return last is not None and (silent or _push_block(state, first, last))


def _last_line(state: StateBlock, first: int, end: int, opening: str, closing: str) -> int | None:
    """The line that the formula which begins the line `first` ends, None where there is none."""
    start = state.bMarks[first] + state.tShift[first]
    if state.is_code_block(first) or not state.src.startswith(opening, start):
        return None
    close = state.src.find(closing, start + 2, start + 2 + _LONGEST)
    end = min(end, first + _MOST_LINES)
    last = bisect_left(state.eMarks, close, first, end) if close > 0 else end
    if last == end or state.src[close + 2 : state.eMarks[last]].strip():
        return None
    return last if close > start + 2 else None


def _push_block(state: StateBlock, first: int, last: int) -> bool:
    text = state.getLines(first, last + 1, state.blkIndent, False)
    token = state.push("math_block", "math", 0)
    token.block, token.content = True, text.strip()[2:-2]
    state.line = last + 1
    return True


def _written(element: Element) -> str:
    inner = escape(unescape(element.text or "")) + "".join(_written(child) for child in element)
    tail = escape(unescape(element.tail or ""))
    if element.tag not in _TAGS:
        return inner + tail
    kept = [(name, said) for name, said in element.attrib.items() if name in _ATTRIBUTES]
    said = "".join(f' {name}="{escape(unescape(value))}"' for name, value in kept)
    return f"<{element.tag}{said}>{inner}</{element.tag}>{tail}"


def _depth(latex: str) -> int:
    depth = deepest = 0
    for sign in latex:
        depth += (sign == "{") - (sign == "}")
        deepest = max(deepest, depth)
    return deepest


def _inline(
    self: RendererProtocol, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
) -> str:
    return to_mathml(tokens[idx].content, "inline")


def _block(self: Any, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
    formula = to_mathml(tokens[idx].content, "block")
    return f'<span class="formula" tabindex="0">{formula}</span>'
