"""What a teacher's units are worth: each is looked up in its source, and the rest is made up for.

What a unit says counts only where it stands in its window, white space aside; its span is taken
from there. All that no unit has, for whatever reason, is cut by the structure of the document
(`retrain.corpus.segment`), so nothing is lost, and what the teacher invents never gets in.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retrain.corpus.asking import Answer
from retrain.corpus.segment import LONGEST, NOTHING, Unit, size, unit_row, units
from retrain.corpus.sentences import Span
from retrain.corpus.stage import Found, Note, Row

Told = Sequence[tuple[Span, Answer]]  # the windows of a document, and the answers about them


@dataclass(frozen=True)
class Placed:
    """Where a unit of the teacher stands in its document."""

    start: int
    end: int
    theme: str


def rows(document: Row, told: Told, longest: int = LONGEST) -> Iterator[Found]:
    """The units of a document by its teacher, in its order, and by structure where it has none."""
    placed = list(_placed(document, told, longest))
    apart = list(_apart(document, [one for one in placed if isinstance(one, Placed)]))
    notes = [one for _, answer in told for one in answer.notes]
    yield from (one for one in [*notes, *placed, *apart] if isinstance(one, Note))
    mine = [unit for unit in apart if isinstance(unit, Unit)]
    rest = list(_rest(document, [unit.spans[0] for unit in mine], longest))
    yield from [Note("unit by the teacher")] * len(mine)
    yield from [Note("unit by structure")] * len(rest)
    for unit in sorted((*mine, *rest), key=lambda unit: unit.start):
        yield unit_row(document, unit)


def where(said: str, window: Span, content: str) -> Span | None:
    """Where the window says the content, white space aside; None where it does not."""
    places = [at for at in range(*window) if not said[at].isspace()]
    wanted = "".join(content.split())
    at = "".join(said[place] for place in places).find(wanted) if wanted else -1
    return None if at < 0 else (places[at], places[at + len(wanted) - 1] + 1)


def _placed(document: Row, told: Told, longest: int) -> Iterator[Placed | Note]:
    """Where each unit stands, or why it does not count."""
    said: str = document["text"]
    tables = [(b["start"], b["end"]) for b in document["blocks"] if b["kind"] == "table"]
    after = [window[0] for window, answer in told[1:]] + [len(said)]
    for (window, answer), next_start in zip(told, after, strict=False):
        for item in answer.items:
            span = where(said, window, item["content"])
            if span is None:
                yield Note("not in the source")
            elif size(said[slice(*span)]) > longest:
                yield Note("too long")
            elif any(_cuts(span, table) for table in tables):
                yield Note("cuts a table")
            elif span[1] == window[1] and span[0] >= next_start:
                yield Note("cut by its window, and whole in the next")
            else:
                yield Placed(*span, item["theme"])


def _cuts(span: Span, table: Span) -> bool:
    apart = span[1] <= table[0] or table[1] <= span[0]
    return not apart and not (span[0] <= table[0] and table[1] <= span[1])


def _apart(document: Row, placed: Sequence[Placed]) -> Iterator[Unit | Note]:
    """Units that do not overlap: what two windows have is the earlier one's."""
    said, taken = document["text"], 0
    for one in sorted(placed, key=lambda one: (one.start, -one.end)):
        end = one.end
        start = _begin(said, max(one.start, taken), end)
        if size(said[start:end]) < NOTHING:
            yield Note("said twice" if taken >= end else "too short")
            continue
        yield Unit(((start, end),), (one.theme,), _page(document["blocks"], start))
        taken = end


def _begin(said: str, start: int, end: int) -> int:
    return start + len(said[start:end]) - len(said[start:end].lstrip())


def _page(blocks: Sequence[Mapping[str, Any]], at: int) -> int | None:
    return next((block.get("page") for block in blocks if at < block["end"]), None)


def _rest(document: Row, taken: Sequence[Span], longest: int) -> Iterator[Unit]:
    """What no unit of the teacher has, as the structure cuts it; lone headings are left out."""
    headings = [(b["start"], b["end"]) for b in document["blocks"] if b["kind"] == "heading"]
    without = sorted([*taken, *headings])
    for unit in units(document, longest):
        if not any(start < unit.end and unit.start < end for start, end in taken):
            yield unit
            continue
        for start, end in _less(unit.spans[-1], without):
            begin = _begin(document["text"], start, end)
            stop = begin + len(document["text"][begin:end].rstrip())
            if size(document["text"][begin:stop]) >= NOTHING:
                yield Unit(((begin, stop),), unit.headings, unit.page)


def _less(span: Span, without: Sequence[Span]) -> Iterator[Span]:
    """What is left of the span."""
    at, last = span
    for start, end in without:
        if start > at:
            yield at, min(start, last)
        at = max(at, end)
        if at >= last:
            return
    if at < last:
        yield at, last
