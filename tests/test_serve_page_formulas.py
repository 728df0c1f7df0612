"""Formulas of an answer: drawn where they are LaTeX, text where not, and never a way for script."""

import time
from html.parser import HTMLParser

import pytest

from serve.page.formulas import to_mathml
from serve.page.markdown import to_html

SCRIPT = "<script>alert(1)</script>"


class Seen(HTMLParser):
    """The tags and attributes of a document, as a browser would find them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.mark.parametrize(
    "text",
    [r"$\frac{a}{b}$", r"\(\frac{a}{b}\)", r"$$\frac{a}{b}$$", "\\[\n\\frac{a}{b}\n\\]",
     "so:\n\n$$\n\\frac{a}{b}\n$$\n\nfin"],
)  # fmt: skip
def test_formulas_are_drawn(text: str) -> None:
    assert "<mfrac><mrow><mi>a</mi></mrow><mrow><mi>b</mi></mrow></mfrac>" in to_html(text)


@pytest.mark.parametrize(
    "text",
    ["It costs $5 and then $10.", r"Escaped \$x\$ here.", "`$x$` is code", "US$ and $ alone",
     "```\n$x$\n```", "1$ + 2$"],
)  # fmt: skip
def test_money_and_code_are_no_formulas(text: str) -> None:
    assert "<math" not in to_html(text)


def test_what_follows_a_formula_is_kept() -> None:
    html = to_html("\\[ x \\] (see below)\n\nand $$y$$ too\n\\[\nz\n=\nw\n\\]\nend")
    assert html.count('display="block"') == 3
    assert "(see below)" in html and "$" not in html and "\\" not in html
    assert html.index("<mi>w</mi>") < html.index("<p>end</p>") and "<h1>" not in html


def test_an_indented_formula_is_drawn_and_a_paragraph_ends_it() -> None:
    assert to_html("- x\n\n  \\[\n  - y\n  \\]").count('display="block"') == 1
    assert "<math" not in to_html("\\[\nx\n\ny\n\\]")
    assert to_html("$$\nx\n\ny\n$$").count('display="block"') == 1


@pytest.mark.parametrize(
    "signs",
    ["\\[\n", "\\[a\n", "\\[\n\n", " \\[\n", "> \\[\n", "\\(", "\\[", "$$a\n\n", "- $$a\n"],
)
def test_the_work_grows_as_the_text_does(signs: str) -> None:
    """Not with its square: a text that only opens formulas would hold up everybody's page."""
    small, large = (_seconds(signs * (size // len(signs))) for size in (3_000, 24_000))
    assert large < 24 * small + 0.5


def _seconds(text: str) -> float:
    """CPU time of the quickest of three: what else a machine does only adds to it."""
    return min(map(_seconds_once, [f"{text}{n}" for n in range(3)]))  # else it is remembered


def _seconds_once(text: str) -> float:
    began = time.process_time()
    to_html(text)
    return time.process_time() - began


@pytest.mark.parametrize(
    "latex",
    [
        rf"\text{{{SCRIPT}}}",
        rf"\mbox{{{SCRIPT}}}",
        rf"\operatorname{{{SCRIPT}}}",
        SCRIPT,
        r"\text{&lt;img src=x onerror=alert(1)&gt;}",
        r"\text{&amp;lt;script&amp;gt;}",
        r"\href{javascript:alert(1)}{x}",
        r"\style{background:url(http://a.test)}{x}",
        r"\class{a\" onclick=\"alert(1)}{x}",
        r"\color{red\" onclick=\"alert(1)}y",
        r"\begin{array}{c\"onclick=alert(1)}1\end{array}",
        r"\includegraphics{http://a.test/x.png}",
        r"\require{html}\cssId{x}{y}",
        r"\rule[1px\"onclick=\"x]{1px\"onclick=\"x}{1px}",
    ],
)
@pytest.mark.parametrize("form", ["${}$", "$${}$$", "\\({}\\)", "\\[{}\\]"])
def test_a_formula_holds_no_script_link_or_style(form: str, latex: str) -> None:
    seen = Seen(to_html(form.replace("{}", latex)))
    assert not seen.tags & {"script", "img", "a", "iframe", "style", "svg", "object"}
    assert not seen.attributes - ALLOWED
    assert not any(name.startswith("on") for name in seen.attributes)


ALLOWED = {
    "class", "tabindex", "display", "mathvariant", "stretchy", "fence", "form", "width", "height",
    "depth", "columnalign", "columnlines", "linethickness", "displaystyle", "scriptlevel",
}  # fmt: skip


@pytest.mark.parametrize(
    "latex", [r"\frac{a", r"\left(", "{" * 500, "x" * 5000, r"\begin{pmatrix}", "^_^", "\\", "&"]
)
def test_what_is_no_latex_is_shown_as_it_was_written(latex: str) -> None:
    shown = to_mathml(latex, "inline")
    assert shown.startswith(("<math", "<code>"))
    assert shown.count("<") < 200
