"""Tables of any length as documents of a size that later stages can hold."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from retrain.corpus.document import Block, Document

PART = 200  # rows

Cells = Sequence[str]


def in_parts(rows: Iterable[Cells], name: str = "") -> Iterator[Document]:
    """Documents of at most `PART` rows and the header. What stands above the header is prose."""
    filled = (row for row in rows if any(cell.strip() for cell in row))
    above, header = _header(filled)
    if header is None:
        if above:
            yield Document([Block("paragraph", " ".join(line)) for line in above], part=name)
        return
    first = 1
    while batch := list(islice(filled, PART)):
        last = first + len(batch) - 1
        said = [Block("paragraph", " ".join(filter(None, line))) for line in above]
        place = f"rows {first}-{last}"
        part = f"{name}, {place}" if name else place
        named = [Block("heading", name, level=1)] if name else []
        yield Document([*named, *said, Block("table", rows=[header, *batch])], part=part)
        first, above = last + 1, []
    if first == 1:
        yield Document([Block("table", rows=[header])], part=name)


def _header(rows: Iterator[Cells]) -> tuple[list[Cells], Cells | None]:
    """(what stands above the header, the header): the first row of more than one cell."""
    above: list[Cells] = []
    row = next(rows, None)
    while row is not None:
        filled = sum(bool(cell.strip()) for cell in row)
        if filled > 1 or len(row) == 1:
            return above, row
        above.append(row)
        row = next(rows, None)
    return above, None
