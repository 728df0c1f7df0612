"""Stage 2: units, passages that a question can be asked about, by the structure of a document.

A section is what stands under a heading. It is one unit, or as many as its length asks for, cut
between blocks, in a long block between sentences, in a table between rows; a part of a table brings
the header along. Sections that are too short are put together with what follows under the same
heading above them. A unit's content is the text of its spans, which is checked for each.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrain.corpus.sentences import Span, sentences
from retrain.corpus.stage import CorpusError, Row, Stage, Tick, lines_of, made_by
from retrain.terms import HAN

NAME, OUTPUT = "segment", "units.jsonl"
LONGEST = 1600  # as `size` counts, some 400 tokens
SHORTEST = 200
NOTHING = 20  # what is shorter asks no question


@dataclass(frozen=True)
class Unit:
    """Where a unit is in its document, and the headings above it."""

    spans: tuple[Span, ...]
    headings: tuple[str, ...]
    page: int | None = None

    @property
    def start(self) -> int:
        return self.spans[-1][0]

    @property
    def end(self) -> int:
        return self.spans[-1][1]


def segment(
    folder: Path, longest: int = LONGEST, tick: Tick = lambda stage, done, total: None
) -> dict[str, Any]:
    """Cut all documents of `folder` into units of at most `longest`; gives the stage's manifest."""
    before = made_by(folder, "extract")
    stage = Stage(folder, NAME, OUTPUT, {"documents": before["sha256"], "longest": longest})
    if stage.done:
        return stage.done
    with stage:
        for number, document in enumerate(lines_of(folder / "documents.jsonl"), 1):
            tick(NAME, number, before["rows"])
            if document["id"] not in stage.keys:
                stage.add(document["id"], unit_rows(document, longest))
        return stage.finish()


def unit_rows(document: Row, longest: int = LONGEST) -> Iterator[Row]:
    """The row of each unit of a document."""
    return (unit_row(document, unit) for unit in units(document, longest))


def unit_row(document: Row, unit: Unit) -> Row:
    """`{id, document, source, part, theme, page, spans, content}`."""
    named = json.dumps([document["id"], unit.spans]).encode()
    row = {
        "id": f"u-{hashlib.sha256(named).hexdigest()[:16]}",
        "document": document["id"],
        "source": document["source"],
        "part": document["part"],
        "theme": " > ".join(unit.headings) or document["title"],
        "page": unit.page,
        "spans": [list(span) for span in unit.spans],
        "content": content_of(document["text"], unit.spans),
    }
    check_unit(row, document)
    return row


def content_of(text: str, spans: Sequence[Sequence[int]]) -> str:
    """What the spans hold, a line end between two."""
    return "\n".join(text[start:end] for start, end in spans)


def check_unit(unit: Mapping[str, Any], document: Mapping[str, Any]) -> None:
    """Raises CorpusError for a unit whose content is not what its source says in its spans."""
    if unit["content"] != content_of(document["text"], unit["spans"]):
        raise CorpusError(
            f"Unit {unit['id']} says what {document['source']} does not say in {unit['spans']}. "
            "Its file was changed: do stage segment again."
        )


def units(document: Row, longest: int = LONGEST) -> Iterator[Unit]:
    """The units in order; together they hold all that the blocks do, but for lone scraps."""
    text: str = document["text"]
    waiting: Unit | None = None
    for unit in _sections(text, document["blocks"], longest):
        if waiting is not None and _belong(text, waiting, unit, longest):
            waiting = _put_together(waiting, unit)
            continue
        if waiting is not None and size(content_of(text, waiting.spans)) >= NOTHING:
            yield waiting
        waiting = unit
    if waiting is not None and size(content_of(text, waiting.spans)) >= NOTHING:
        yield waiting


def size(text: str) -> int:
    """Characters, of which a Chinese, Japanese or Korean one counts twice, as it says more."""
    return len(text) + sum(len(run) for run in HAN.findall(text))


def _sections(text: str, blocks: Sequence[Row], longest: int) -> Iterator[Unit]:
    headings: list[tuple[int, str]] = []
    group: list[Row] = []
    for block in blocks:
        if block["kind"] == "heading":
            if any(b["kind"] != "heading" for b in group):
                yield from _cut(text, group, _names(headings), longest)
                group = []
            headings = [h for h in headings if h[0] < block.get("level", 1)]
            headings.append((block.get("level", 1), text[block["start"] : block["end"]]))
        group.append(block)
    yield from _cut(text, group, _names(headings), longest)


def _names(headings: Sequence[tuple[int, str]]) -> tuple[str, ...]:
    return tuple(name for _, name in headings)


def _cut(
    text: str, group: Sequence[Row], headings: tuple[str, ...], longest: int
) -> Iterator[Unit]:
    """Units of neighbouring pieces, each as full as the limit lets it be."""
    spans: tuple[Span, ...] = ()
    page: int | None = None
    for piece, at in pieces(text, group, longest):
        together = (*spans[:-1], (spans[-1][0], piece[-1][1])) if spans else piece
        alone = len(piece) > 1 or len(spans) > 1
        if spans and (alone or size(content_of(text, together)) > longest):
            yield Unit(spans, headings, page)
            spans, page = piece, at
        else:
            spans, page = together, page or at
    if spans:
        yield Unit(spans, headings, page)


def pieces(
    text: str, group: Sequence[Row], longest: int
) -> Iterator[tuple[tuple[Span, ...], int | None]]:
    """Blocks, or the parts of one that is too long, with the page of each."""
    for block in group:
        start, end, page = block["start"], block["end"], block.get("page")
        if size(text[start:end]) <= longest:
            yield ((start, end),), page
        elif block["kind"] == "table":
            yield from ((spans, page) for spans in _table(text, start, end, longest))
        else:
            cut = _lines(text, start, end) if block["kind"] == "code" else _said(text, start, end)
            for one in cut:
                yield from ((part, page) for part in _hard(text, one, longest))


def _table(text: str, start: int, end: int, longest: int) -> Iterator[tuple[Span, ...]]:
    header, *rows = list(_lines(text, start, end))
    if not rows:
        yield (header,)
    room, first = max(1, longest - size(text[slice(*header)])), 0
    for at in range(1, len(rows) + 1):
        full = at == len(rows) or size(text[rows[first][0] : rows[at][1]]) > room
        if full:
            part = (rows[first][0], rows[at - 1][1])
            yield ((header[0], part[1]),) if first == 0 else (header, part)
            first = at


def _lines(text: str, start: int, end: int) -> Iterator[Span]:
    at = start
    for line in text[start:end].split("\n"):
        yield at, at + len(line)
        at += len(line) + 1


def _said(text: str, start: int, end: int) -> Iterator[Span]:
    return ((start + a, start + b) for a, b in sentences(text[start:end]))


def _hard(text: str, span: Span, longest: int) -> Iterator[tuple[Span, ...]]:
    """The span, cut between words where even a sentence is longer than the limit."""
    start, end = span
    while size(text[start:end]) > longest:
        room = longest // (2 if HAN.search(text, start, start + longest) else 1)
        cut = max(text.rfind(" ", start + 1, start + room), start) or start
        cut = cut if cut > start else start + room
        yield ((start, cut),)
        start = cut + len(text[cut:end]) - len(text[cut:end].lstrip())
    yield ((start, end),)


def _belong(text: str, one: Unit, other: Unit, longest: int) -> bool:
    """Whether two neighbours are one unit: one of them is short, and they share a heading."""
    if len(one.spans) > 1 or len(other.spans) > 1:
        return False
    short = min(size(text[slice(*u.spans[0])]) for u in (one, other)) < SHORTEST
    alike = one.headings[:1] == other.headings[:1]
    return short and alike and size(text[one.start : other.end]) <= longest


def _put_together(one: Unit, other: Unit) -> Unit:
    shared = [a for a, b in zip(one.headings, other.headings, strict=False) if a == b]
    return Unit(((one.start, other.end),), tuple(shared), one.page or other.page)
