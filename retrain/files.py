"""Rows in files: JSON Lines, a JSON array (`.json`) or Parquet (`.parquet`), a row at a time."""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from retrain.manifest import as_line, replacing

Row = dict[str, Any]
BATCH = 1000


class FileError(Exception):
    """A file cannot be read as what it is said to be."""


@dataclass(frozen=True)
class Found:
    """What stands at one place of a file: a row, or why there is none."""

    place: str  # such as "line 7"
    row: Row | None
    wrong: str = ""


def write_file(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the rows in one move, in the form that the name ends in; JSON Lines for any other."""
    with replacing(path) as part:
        if path.suffix == ".parquet":
            _write_parquet(part, rows)
            return
        with part.open("w", encoding="utf-8") as file:
            file.writelines(_array(rows) if path.suffix == ".json" else map(as_line, rows))


def read_file(path: Path) -> Iterator[Found]:
    """What is in the file, in order. Raises FileError where nothing can be told apart."""
    if path.suffix == ".parquet":
        yield from _read_parquet(path)
        return
    try:
        with path.open(encoding="utf-8-sig") as file:
            begin = file.read(4096).lstrip()[:1]
            file.seek(0)
            yield from _elements(file.read()) if begin == "[" else _lines(file)
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is not UTF-8: {error.reason}.") from error


def _array(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    before = "[\n"
    for row in rows:
        yield before + as_line(row).rstrip("\n")
        before = ",\n"
    yield "\n]\n"


def _lines(file: Iterable[str]) -> Iterator[Found]:
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                yield _found(f"line {number}", _parsed(line))
            except json.JSONDecodeError as error:
                wrong = f"it is not JSON: {error.msg} at character {error.pos + 1}"
                yield Found(f"line {number}", None, wrong)
            except ValueError as error:
                yield Found(f"line {number}", None, f"it is not JSON: {error}")


def _elements(text: str) -> Iterator[Found]:
    try:
        rows = _parsed(text)
    except ValueError as error:
        raise FileError(f"The file is not JSON: {error}.") from error
    for number, row in enumerate(rows, 1):
        yield _found(f"element {number}", row)


def _parsed(text: str) -> Any:
    def no_number(name: str) -> None:
        raise ValueError(f"{name} is no number in JSON")

    return json.loads(text, parse_constant=no_number)


def _found(place: str, row: Any) -> Found:
    if not isinstance(row, dict):
        return Found(place, None, f"it is no object but {type(row).__name__}")
    return Found(place, row)


def _write_parquet(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """By way of JSON Lines: the columns and their types are known when all rows were seen."""
    import pyarrow as pa
    from pyarrow import parquet

    with tempfile.TemporaryFile("w+", encoding="utf-8", dir=path.parent) as lines:
        lines.writelines(map(as_line, rows))
        schema = pa.schema([])
        for batch in _batches(lines):
            found = pa.schema(list(pa.array(batch).type))
            schema = pa.unify_schemas([schema, found], promote_options="permissive")
        with parquet.ParquetWriter(path, schema) as writer:
            for batch in _batches(lines):
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def _batches(lines: Any) -> Iterator[list[Row]]:
    lines.seek(0)
    while batch := [json.loads(line) for line in islice(lines, BATCH)]:
        yield batch


def _read_parquet(path: Path) -> Iterator[Found]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield Found(f"row {number}", _without_nulls(row))
    except pa.ArrowInvalid as error:
        raise FileError(f"{path} is no Parquet file: {error}.") from error


def _without_nulls(value: Any) -> Any:
    """The value without the keys that Parquet gives all rows because one of them has it."""
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value
