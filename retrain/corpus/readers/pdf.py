"""PDF, by pdfplumber: paragraphs of pdfminer's layout analysis, ruled tables, headings by size.

Lines that come again at the top or bottom of pages, whatever number is in them, are left out. A
page that is a picture alone is a trouble with its number.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from retrain.corpus.document import Block, Document
from retrain.corpus.readers import need
from retrain.corpus.readers._lines import joined
from retrain.corpus.stage import CorpusError, Trouble

SUFFIXES = (".pdf",)
MARGIN = 0.12  # of a page's height, above and below, where running lines are
LARGER = 1.12  # than the body: a heading
BULLET = re.compile(r"^[\ue000-\uf8ff•◦▪‣●○■□–·*-]$")
ITEM = re.compile(r"^(?:[\ue000-\uf8ff•◦▪‣●○■□·]\s*|[-–*]\s+)")
END = re.compile(r"[.!?:;…。！？：；”\")\]）】]$")


@dataclass(frozen=True)
class _Line:
    text: str
    x0: float
    top: float
    x1: float
    bottom: float
    page: int
    box: int

    @property
    def height(self) -> float:
        return round(self.bottom - self.top, 1)


_Piece = _Line | Block


def read(path: Path) -> Iterator[Document | Trouble]:
    pdfplumber, errors = need("pdfplumber", "PDF"), need("pdfplumber.utils.exceptions", "PDF")
    try:
        with pdfplumber.open(path, laparams={}) as pdf:
            yield from _read(pdf)
    except errors.PdfminerException as error:
        raise CorpusError(_refusal(error)) from error


def _refusal(error: Exception) -> str:
    if "Password" in repr(error):
        return (
            "it is encrypted and opens with a password only. Decrypt it: qpdf --decrypt "
            "--password=… IN.pdf OUT.pdf"
        )
    return f"it is damaged or no PDF ({error!r:.200}). Print it to PDF anew."


def _read(pdf: Any) -> Iterator[Document | Trouble]:
    pages: list[list[_Piece]] = []
    scanned: list[int] = []
    for number, page in enumerate(pdf.pages, 1):
        pages.append(_pieces(page, number))
        if not pages[-1] and page.images:
            scanned.append(number)
        page.close()
    height = float(pdf.pages[0].height) if pdf.pages else 0
    blocks = list(_blocks(_without_running(pages, height)))
    if blocks:
        title = (pdf.metadata or {}).get("Title") or ""
        yield Document(blocks, title=str(title), facts={"pages": len(pages)})
    if scanned:
        shown = ", ".join(map(str, scanned[:10])) + (" …" if len(scanned) > 10 else "")
        what = f"page {shown} is" if len(scanned) == 1 else f"pages {shown} are"
        yield Trouble(
            f"{what} a picture without text (a scan). Recognise the text first: ocrmypdf IN.pdf "
            "OUT.pdf"
        )
    elif not blocks:
        yield Trouble("there is no text on any of its pages.")


def _pieces(page: Any, number: int) -> list[_Piece]:
    """Lines and tables of a page in reading order."""
    tables = [t for t in page.find_tables() if len(t.rows) > 1 and len(t.columns) > 1]
    lines = [
        line for line in _lines(page, number) if not any(_within(line, t.bbox) for t in tables)
    ]
    pieces: list[_Piece] = list(_with_bullets(lines))
    for table in sorted(tables, key=lambda t: float(t.bbox[1])):
        rows = [[cell or "" for cell in row] for row in table.extract()]
        at = next((i for i, p in enumerate(pieces) if _below(p, table.bbox)), len(pieces))
        pieces.insert(at, Block("table", page=number, rows=rows))
    return pieces


def _lines(page: Any, number: int) -> Iterator[_Line]:
    """The lines in the order of pdfminer's boxes, each with the number of its box."""
    boxes = page.objects.get("textboxhorizontal", [])
    lines = page.objects.get("textlinehorizontal", [])
    at = 0
    for index, box in enumerate(boxes):
        for text in box["text"].split("\n")[:-1]:
            line, at = lines[at], at + 1
            if text.strip():
                sides = (line["x0"], line["top"], line["x1"], line["bottom"])
                yield _Line(text.rstrip("\n"), *sides, number, index)


def _within(line: _Line, bbox: Sequence[float]) -> bool:
    x, y = (line.x0 + line.x1) / 2, (line.top + line.bottom) / 2
    return bool(bbox[0] <= x <= bbox[2] and bbox[1] <= y <= bbox[3])


def _below(piece: _Piece, bbox: Sequence[float]) -> bool:
    if isinstance(piece, Block):
        return False
    return bool(piece.top >= bbox[3] - 1 and piece.x0 < bbox[2] and piece.x1 > bbox[0])


def _with_bullets(lines: list[_Line]) -> Iterator[_Line]:
    """A bullet is a line of its own beside its item: it is put before it."""
    bullets = [line for line in lines if BULLET.match(line.text.strip())]
    for line in lines:
        if line in bullets:
            continue
        beside = any(abs(b.top - line.top) < 3 and 0 <= line.x0 - b.x1 < 40 for b in bullets)
        yield replace(line, text=f"• {line.text}") if beside else line


def _without_running(pages: list[list[_Piece]], height: float) -> Iterator[_Piece]:
    def mark(piece: _Piece) -> tuple[str, int] | None:
        if isinstance(piece, Block) or MARGIN * height < piece.top < (1 - MARGIN) * height:
            return None
        return re.sub(r"\d+", "#", piece.text.strip()), round(piece.top / 4)

    found = Counter(m for page in pages for m in {mark(piece) for piece in page} if m)
    least = max(2, len(pages) / 2)
    for page in pages:
        yield from (piece for piece in page if (m := mark(piece)) is None or found[m] < least)


def _blocks(pieces: Iterator[_Piece]) -> Iterator[Block]:
    kept = list(pieces)
    lines = [piece for piece in kept if isinstance(piece, _Line)]
    weights: Counter[float] = Counter()
    for line in lines:
        weights[line.height] += len(line.text)
    body = weights.most_common(1)[0][0] if weights else 0.0
    sizes = sorted({h for h in weights if h > LARGER * body}, reverse=True)
    known = " ".join(line.text for line in lines)
    group: list[_Line] = []
    for piece in [*kept, None]:
        if isinstance(piece, _Line) and group and _goes_on(group, piece):
            group.append(piece)
            continue
        if group:
            yield _block(group, sizes, known)
        group = [piece] if isinstance(piece, _Line) else []
        if isinstance(piece, Block):
            yield piece


def _goes_on(group: list[_Line], line: _Line) -> bool:
    """Whether the line belongs to the paragraph of the lines before it."""
    last = group[-1]
    if abs(last.height - line.height) > 0.1 * last.height or ITEM.match(line.text):
        return False
    if (last.page, last.box) == (line.page, line.box):
        return line.top - last.bottom < 0.8 * last.height
    begins = line.text.lstrip()[:1]
    if ITEM.match(group[0].text) and last.page == line.page:
        return 0 <= line.top - last.bottom < 0.3 * last.height and line.x0 > group[0].x0 - 2
    more = begins.islower() or "\u3400" <= begins <= "\u9fff"
    return line.page == last.page + 1 and more and not END.search(last.text.rstrip())


def _block(group: list[_Line], sizes: list[float], known: str) -> Block:
    text, first = joined([line.text for line in group], known), group[0]
    if first.height in sizes and len(text) < 200:
        return Block("heading", text, level=min(6, sizes.index(first.height) + 1), page=first.page)
    if ITEM.match(text):
        return Block("list", f"- {ITEM.sub('', text)}", page=first.page)
    return Block("paragraph", text, page=first.page)
