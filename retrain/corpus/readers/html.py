"""HTML files and saved sites (.mhtml): the main text by trafilatura, without navigation and ads.

Elements that are no content by tag, role or name go first: of short pages trafilatura keeps them.
Where it finds too little of the rest (a short answer, a mere table), all of that is taken.
"""

import email
import email.policy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from retrain.corpus.document import Block, Document
from retrain.corpus.readers import need
from retrain.corpus.readers._encoding import BOMS, encoding_of
from retrain.corpus.stage import CorpusError, Trouble

SUFFIXES = (".html", ".htm", ".xhtml", ".mhtml", ".mht")
SAVED = (".mhtml", ".mht")
CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w-]+)""", re.IGNORECASE)
ALIKE = {"gb2312": "gb18030", "gbk": "gb18030", "iso-8859-1": "cp1252"}  # as browsers read them
MUCH = 0.5  # of the visible text, which trafilatura must find
NO_CONTENT = (
    "script", "style", "noscript", "template", "svg", "iframe", "nav", "header", "footer", "aside",
    "form", "button", "select", "dialog", "head", "object", "video", "audio",
)  # fmt: skip
NAMED = re.compile(
    r"(?:^|[-_\s])(?:ads?|adv|advert\w*|banner|sponsor\w*|promo\w*|cookies?|consent|newsletter|"
    r"sidebar|nav\w*|menu|breadcrumbs?|footer|masthead|share|social|related|popup|modal)(?:$|[-_\s])",
    re.IGNORECASE,
)
ROLES = ("navigation", "banner", "contentinfo", "complementary", "search", "dialog")
TEXTUAL = ("p", "div", "section", "article", "main", "body", "td", "th", "dd", "dt", "blockquote",
           "figcaption", "address", "center", "details", "summary")  # fmt: skip
HEADING = re.compile(r"h[1-6]")


def read(path: Path) -> Iterator[Document | Trouble]:
    trafilatura, html = need("trafilatura", "HTML"), need("lxml.html", "HTML")
    text = page_of(path)
    if not text.strip():
        raise CorpusError("it is empty.")
    try:
        tree = html.document_fromstring(text)
    except (ValueError, html.etree.LxmlError) as error:
        raise CorpusError(f"it is no HTML ({error}). Save the page anew.") from error
    title = " ".join((tree.findtext(".//title") or "").split())
    _prune(tree)
    visible = list(_walk(tree))
    main = list(_main(trafilatura, tree))
    enough = _length(main) >= MUCH * _length(visible)
    yield Document(main if enough else visible, title=title)


def page_of(path: Path) -> str:
    """The page's HTML as text, without an XML declaration, which lxml takes in bytes only."""
    data = path.read_bytes()
    if path.suffix.lower() in SAVED:
        data = _saved(data)
    named = CHARSET.search(data[:4096])
    encoding = named[1].decode().lower() if named else ""
    try:
        text = data.decode(ALIKE.get(encoding, encoding) or _told(data))
    except (UnicodeDecodeError, LookupError):
        text = data.decode(_told(data), errors="replace")
    return re.sub(r"\A\s*<\?xml[^>]*\?>", "", text)


def _told(data: bytes) -> str:
    return next((name for mark, name in BOMS.items() if data.startswith(mark)), encoding_of(data))


def _saved(data: bytes) -> bytes:
    """The first page in what a browser saved as one file."""
    message = email.message_from_bytes(data, policy=email.policy.default)
    for part in message.walk():
        if part.get_content_type() == "text/html":
            payload: Any = part.get_payload(decode=True)
            return bytes(payload)
    raise CorpusError("there is no HTML in it. Save the page anew.")


def _length(blocks: list[Block]) -> int:
    return sum(len(b.text) + sum(len(cell) for row in b.rows for cell in row) for b in blocks)


def _main(trafilatura: Any, tree: Any) -> Iterator[Block]:
    found = trafilatura.bare_extraction(
        tree, include_tables=True, include_comments=False, favor_recall=True, with_metadata=False
    )
    if found is None or found.body is None:
        return
    for element in found.body:
        yield from _converted(element)


def _converted(element: Any) -> Iterator[Block]:
    """Blocks of an element of trafilatura's own XML."""
    if element.tag == "head":
        yield Block("heading", _text(element), level=int((element.get("rend") or "h1")[1:]))
    elif element.tag == "table":
        rows = [[_text(cell) for cell in row.iter("cell")] for row in element.iter("row")]
        yield Block("table", rows=rows)
    elif element.tag == "list":
        yield from (Block("list", f"- {_text(item)}") for item in element.iter("item"))
    elif element.tag == "code":
        yield Block("code", "".join(element.itertext()))
    else:
        yield Block("paragraph", _text(element))
    if element.tail and element.tail.strip():
        yield Block("paragraph", " ".join(element.tail.split()))


def _text(element: Any) -> str:
    return " ".join("".join(element.itertext()).split())


def _prune(tree: Any) -> None:
    """Take out what is no content by its tag, role or name; trafilatura keeps some of it."""
    for element in list(tree.iter()):
        wanted = isinstance(element.tag, str) and not _is_no_content(element)
        if not wanted and element.getparent() is not None:
            element.drop_tree()


def _is_no_content(element: Any) -> bool:
    if element.tag in ("html", "body", "main", "article"):
        return False
    named = f"{element.get('class') or ''} {element.get('id') or ''}"
    if (
        element.tag in NO_CONTENT
        or element.get("role") in ROLES
        or element.get("hidden") is not None
    ):
        return not (element.tag == "header" and element.getparent().tag in ("article", "main"))
    return NAMED.search(named) is not None


def _walk(element: Any) -> Iterator[Block]:
    """Blocks below an element; text of its own between them is a paragraph."""
    loose: list[str] = [element.text or ""]
    for child in element:
        block = _of(child)
        if block is None and not _holds_blocks(child):
            loose += ["\n" if child.tag == "br" else "".join(child.itertext()), child.tail or ""]
            continue
        yield from _loose(loose)
        yield from [block] if block is not None else _walk(child)
        loose = [child.tail or ""]
    yield from _loose(loose)


def _loose(texts: list[str]) -> Iterator[Block]:
    said = " ".join("".join(texts).split())
    if said:
        yield Block("paragraph", said)


def _of(element: Any) -> Block | None:
    if HEADING.fullmatch(element.tag):
        return Block("heading", _text(element), level=int(element.tag[1]))
    if element.tag == "pre":
        return Block("code", "".join(element.itertext()))
    if element.tag == "li" and not _holds_blocks(element):
        return Block("list", f"- {_text(element)}")
    if element.tag == "table" and not element.xpath(".//table"):
        rows = [[_text(c) for c in row if c.tag in ("td", "th")] for row in element.iter("tr")]
        return Block("table", rows=[row for row in rows if row])
    return None


def _holds_blocks(element: Any) -> bool:
    if element.tag in TEXTUAL:
        return True
    return any(
        child.tag in (*TEXTUAL, "ul", "ol", "li", "table", "pre", "dl")
        or HEADING.fullmatch(str(child.tag))
        for child in element.iterdescendants()
    )
