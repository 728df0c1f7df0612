"""A stage's output while it grows: an input at a time, so that a kill costs the one at work.

Rows go to `OUTPUT.part`. Behind the rows of an input, `STAGE.log.jsonl` gets a line with its key,
its troubles and how long the part then is; on the next start the part is cut to what the log says.
`STAGE.json`, written last, means that the stage is done, and with what it was made of it tells
whether it has to be done again.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from retrain.manifest import as_line, read_json, sha256, sync_folder, write_json

Row = dict[str, Any]
Tick = Callable[[str, int, int | None], None]  # stage, inputs done, of how many


class CorpusError(Exception):
    """Something of the corpus cannot be used; the message says what, why and what next."""


@dataclass(frozen=True)
class Trouble:
    """What is wrong with an input or a part of it, in words."""

    text: str


@dataclass(frozen=True)
class Note:
    """Something that happened to an input, to be counted."""

    what: str


Found = Row | Trouble | Note


@dataclass
class Summary:
    """What a stage did; in `STAGE.json`."""

    inputs: int = 0
    rows: int = 0
    troubles: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class Stage:
    """The output of stage `name` in `folder`, made of `made_of`. Use as a context.

    `done` is the summary of an earlier run that was made of the same, None where there is work.
    """

    def __init__(self, folder: Path, name: str, output: str, made_of: Mapping[str, Any]) -> None:
        self.folder, self.name, self.output = folder, name, folder / output
        self.made_of = json.loads(json.dumps(made_of))
        self._log = folder / f"{name}.log.jsonl"
        self._part = folder / f"{output}.part"
        self._begun = folder / f"{name}.begun.json"
        self._manifest = folder / f"{name}.json"
        self.summary = Summary()
        self.keys: set[str] = set()
        self._rows: BinaryIO  # while the stage is entered
        self._lines: BinaryIO

    @property
    def done(self) -> dict[str, Any] | None:
        found = _read(self._manifest)
        same = found is not None and found["made_of"] == self.made_of and self.output.exists()
        return found if same else None

    def __enter__(self) -> "Stage":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._manifest.unlink(missing_ok=True)
        if _read(self._begun) != self.made_of:
            self._log.unlink(missing_ok=True)
            self._part.unlink(missing_ok=True)
            write_json(self._begun, self.made_of)
        self._rows, self._lines = _open(self._part), _open(self._log)
        self._take_up(self._rows, self._lines)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._rows.close()
        self._lines.close()

    def add(self, key: str, found: Iterable[Found]) -> None:
        """Write what became of the input `key`, as it comes. A trouble ends nothing."""
        troubles, notes, rows = list[str](), Counter[str](), 0
        for one in found:
            if isinstance(one, Trouble):
                troubles.append(one.text)
            elif isinstance(one, Note):
                notes[one.what] += 1
            else:
                self._rows.write(as_line(one).encode())
                rows += 1
        self._rows.flush()
        line: Row = {"key": key, "rows": rows, "troubles": troubles, "notes": dict(notes)}
        line["bytes"] = self._rows.tell()
        self._lines.write(as_line(line).encode())
        self._lines.flush()
        self._count(line)

    def finish(self, **facts: Any) -> dict[str, Any]:
        """All inputs are in: the output takes its place, and the manifest says so."""
        os.fsync(self._rows.fileno())
        os.replace(self._part, self.output)
        sync_folder(self.folder)
        told = {
            "stage": self.name,
            "made_of": self.made_of,
            "inputs": self.summary.inputs,
            "rows": self.summary.rows,
            "troubles": self.summary.troubles,
            "sha256": sha256(self.output),
            **facts,
        }
        write_json(self._manifest, told)
        self._begun.unlink()
        return told

    def _take_up(self, rows: BinaryIO, lines: BinaryIO) -> None:
        """Count what an interrupted run left whole, and cut off the rest."""
        size, end = rows.seek(0, os.SEEK_END), 0
        lines.seek(0)
        for raw in lines:
            line = _parsed(raw)
            if line is None or line["bytes"] > size:
                break
            end += len(raw)
            self._count(line)
            rows.seek(line["bytes"])
        else:
            if not self.keys:
                rows.seek(0)
        rows.truncate(rows.tell() if self.keys else 0)
        lines.truncate(end)
        lines.seek(end)

    def _count(self, line: Row) -> None:
        self.keys.add(line["key"])
        self.summary.inputs += 1
        self.summary.rows += line["rows"]
        self.summary.troubles += line["troubles"]
        self.summary.counts.update(line["notes"])


def lines_of(path: Path) -> Iterator[Row]:
    """The rows of an earlier stage's output, one at a time."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def read_manifest(folder: Path, stage: str) -> dict[str, Any] | None:
    """What a stage says of itself; None where it is not done."""
    found: dict[str, Any] | None = _read(folder / f"{stage}.json")
    return found


def made_by(folder: Path, stage: str) -> dict[str, Any]:
    """What an earlier stage says of itself. Raises CorpusError where it is not done."""
    found = read_manifest(folder, stage)
    if found is None:
        raise CorpusError(
            f"Stage {stage} is not done in {folder}. Do it first: redraft corpus {stage}."
        )
    return found


def guarded(found: Iterable[Found], what: str) -> Iterator[Found]:
    """What comes, and what ends it too early as a trouble of `what`.

    A library can raise anything on a file that is not what its name says, and the next file has
    nothing to do with it.
    """
    try:
        yield from found
    except CorpusError as error:
        yield Trouble(f"{what}: {error}")
    except Exception as error:
        said = str(error) or "no reason given"
        yield Trouble(
            f"{what}: it cannot be read ({type(error).__name__}: {said[:200]}). Open it with the "
            "program that it is of and save it anew."
        )


def _open(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except (FileNotFoundError, ValueError):
        return None


def _parsed(raw: bytes) -> Row | None:
    """The line, None for one that a kill tore."""
    try:
        found: Row = json.loads(raw)
    except ValueError:
        return None
    return found if raw.endswith(b"\n") else None
