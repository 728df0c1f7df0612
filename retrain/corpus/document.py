"""What a reader makes of a file: documents of blocks, in the form that later stages read."""

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from retrain.curate.normalise import mended

BETWEEN = "\n\n"  # two blocks in the text of a document


@dataclass(frozen=True)
class Block:
    """A part of a document: heading, paragraph, list, table, code, record or turn.

    A table has its cells in `rows`, the first of which is the header; `text` is made of them.
    """

    kind: str
    text: str = ""
    level: int = 0  # of a heading, 1 the highest
    page: int | None = None
    speaker: str = ""  # of a turn
    rows: Sequence[Sequence[str]] = ()


@dataclass(frozen=True)
class Document:
    """The blocks of a file, or of the `part` of it that stands for itself."""

    blocks: Sequence[Block]
    part: str = ""
    title: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def as_row(self, source: str, kind: str) -> dict[str, Any] | None:
        """`{id, source, part, kind, title, text, blocks}`; None where no block says anything.

        Blocks are `{kind, start, end, …}`: `text[start:end]`, in characters.
        """
        pieces, blocks, at = list[str](), list[dict[str, Any]](), 0
        for block in self.blocks:
            rows = [[_sound(cell.strip()) for cell in row] for row in block.rows]
            own = block.text.strip("\n").rstrip() if block.kind == "code" else block.text.strip()
            text = plain_table(rows) if rows else _sound(own)
            if not any(map(_says_something, text)):
                continue
            at += len(BETWEEN) if pieces else 0
            blocks.append(_placed(block, at, at + len(text), rows))
            pieces.append(text)
            at += len(text)
        if not pieces:
            return None
        text = BETWEEN.join(pieces)
        named = json.dumps([source, self.part, text]).encode()
        return {
            "id": f"d-{hashlib.sha256(named).hexdigest()[:16]}",
            "source": source,
            "part": self.part,
            "kind": kind,
            "title": _sound(self.title.strip()) or _first_heading(text, blocks),
            **self.facts,
            "text": text,
            "blocks": blocks,
        }


def plain_table(rows: Sequence[Sequence[str]]) -> str:
    """A line a row, cells between bars; a line end inside a cell is a space there."""
    return "\n".join(" | ".join(" ".join(cell.split()) for cell in row) for row in rows)


def _sound(text: str) -> str:
    """The text mended, without halves of characters, which no file can hold."""
    return mended(text.encode(errors="replace").decode())


def _placed(block: Block, start: int, end: int, rows: list[list[str]]) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": block.kind, "start": start, "end": end}
    more = {"level": block.level, "page": block.page, "speaker": block.speaker, "rows": rows}
    return told | {name: value for name, value in more.items() if value}


def _first_heading(text: str, blocks: Sequence[dict[str, Any]]) -> str:
    return next((text[b["start"] : b["end"]] for b in blocks if b["kind"] == "heading"), "")


def _says_something(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNSP"
