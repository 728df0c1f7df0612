"""Word (.docx), by python-docx: headings by style, lists, tables, paragraphs in their order.

Headers, footers and comments are left out. A merged cell counts once, at its first place.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from retrain.corpus.document import Block, Document
from retrain.corpus.readers import need
from retrain.corpus.readers._packed import check_packed
from retrain.corpus.stage import CorpusError, Trouble

SUFFIXES = (".docx", ".docm", ".dotx")


def read(path: Path) -> Iterator[Document | Trouble]:
    docx = need("docx", "Word")
    check_packed(path, "Word")
    try:
        document = docx.Document(str(path))
    except (KeyError, ValueError, docx.opc.exceptions.PackageNotFoundError) as error:
        raise CorpusError(f"it is no Word document ({error}). Save it anew as .docx.") from error
    title = document.core_properties.title or ""
    yield Document(list(_blocks(document)), title=title)


def _blocks(document: Any) -> Iterator[Block]:
    for item in document.iter_inner_content():
        yield Block("table", rows=_rows(item)) if hasattr(item, "rows") else _paragraph(item)


def _paragraph(paragraph: Any) -> Block:
    style = (paragraph.style.name if paragraph.style is not None else "") or ""
    text = paragraph.text
    if style == "Title":
        return Block("heading", text, level=1)
    if style.startswith("Heading"):
        number = style.rpartition(" ")[2]
        return Block("heading", text, level=int(number) if number.isdigit() else 1)
    properties = paragraph._p.pPr
    if style.startswith("List") or (properties is not None and properties.numPr is not None):
        return Block("list", f"- {text}" if text.strip() else "")
    return Block("code" if "Preformatted" in style or "Code" in style else "paragraph", text)


def _rows(table: Any) -> list[list[str]]:
    seen: set[Any] = set()
    rows = []
    for row in table.rows:
        cells = []
        for cell in row.cells:
            cells.append("" if cell._tc in seen else cell.text)
            seen.add(cell._tc)
        rows.append(cells)
    return rows
