"""Facts out of the tables and records of a document: knowledge triples, and keys with values.

| table | fact |
| --- | --- |
| columns subject, relation, object | (subject, relation, object) |
| two columns, the second named value | (nothing, key, value): what it is about is in the theme |
| any other | (first cell of the row, name of the column, cell) |
| record | (nothing, name, value) |
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from retrain.corpus.stage import Row

# The names of the columns of a table of triples, and of a value.
SUBJECT = ("subject", "head", "entity", "主语", "主体", "头实体", "实体")
RELATION = ("relation", "predicate", "property", "attribute", "关系", "谓语", "属性")
OBJECT = ("object", "tail", "value", "宾语", "客体", "尾实体", "属性值", "值")
VALUE = ("value", "values", "setting", "值", "数值", "取值", "内容", "参数值", "")


class Fact(NamedTuple):
    """`subject` is empty where the theme says what it is about."""

    subject: str
    name: str
    value: str


def facts_of(unit: Row, document: Row) -> list[Fact]:
    """What the tables and records of the document say within the unit, in order."""
    found: list[Fact] = []
    for block in document["blocks"]:
        if block["kind"] == "table":
            found += _of_table(block["rows"], list(_rows_within(block, document["text"], unit)))
        elif block["kind"] == "record" and _within(unit, block["start"], block["end"]):
            name, _, value = document["text"][block["start"] : block["end"]].partition(": ")
            found.append(Fact("", name.strip(), value.strip()))
    return [fact for fact in found if fact.name and fact.value]


def _rows_within(block: Mapping[str, Any], text: str, unit: Row) -> Iterator[Sequence[str]]:
    """The rows below the header that the unit has; a row is a line of the text."""
    at = block["start"]
    lines = text[block["start"] : block["end"]].split("\n")
    for number, (line, row) in enumerate(zip(lines, block["rows"], strict=False)):
        if number and _within(unit, at, at + len(line)):
            yield row
        at += len(line) + 1


def _of_table(table: Sequence[Sequence[str]], rows: Sequence[Sequence[str]]) -> Iterator[Fact]:
    header = [cell.strip() for cell in table[0]]
    places = [_place(header, names) for names in (SUBJECT, RELATION, OBJECT)]
    triples = None not in places
    pairs = len(header) == 2 and header[1].casefold() in VALUE
    for row in rows:
        cells = [" ".join(cell.split()) for cell in row] + [""] * (len(header) - len(row))
        if triples:
            yield Fact(*(cells[place or 0] for place in places))
        elif pairs:
            yield Fact("", *cells[:2])
        else:
            yield from (Fact(cells[0], *one) for one in zip(header[1:], cells[1:], strict=False))


def _place(header: Sequence[str], names: Sequence[str]) -> int | None:
    return next((at for at, cell in enumerate(header) if cell.casefold() in names), None)


def _within(unit: Row, start: int, end: int) -> bool:
    return any(first <= start and end <= last for first, last in unit["spans"])
