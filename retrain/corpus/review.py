"""What people say of the rows that stage `check` put aside: keep, fix or drop.

`verdicts.jsonl` has a line for each, `{id, verdict, by, at}`, of a fix with the texts as they are
to be. The last one of a row counts. A program may write it as well. Stage `write` heeds it.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from retrain.corpus import kinds
from retrain.corpus.check import REVIEW, masked
from retrain.corpus.stage import CorpusError, Row, lines_of, made_by
from retrain.manifest import as_line, sha256

FILE = "verdicts.jsonl"
VERDICTS = ("keep", "fix", "drop")


def waiting(folder: Path) -> list[Row]:
    """The rows of which nobody has said anything, in their order. Raises CorpusError."""
    made_by(folder, "check")
    said = verdicts(folder)
    return [row for row in lines_of(folder / REVIEW) if row["id"] not in said]


def passage(folder: Path, row: Row) -> str:
    """The text that the row is about; empty where it is about none."""
    units = lines_of(folder / "units.jsonl") if row["unit"] else iter(())
    return next((str(unit["content"]) for unit in units if unit["id"] == row["unit"]), "")


def texts_of(row: Row) -> dict[str, Any]:
    """What a fix may change."""
    return {name: row[name] for name in kinds.of(row).texts}


def say(
    folder: Path, row: Row, verdict: str, by: str, texts: Mapping[str, Any] | None = None
) -> None:
    """Put a verdict down, at once and for good. Raises CorpusError for texts that cannot be."""
    line = {"id": row["id"], "verdict": verdict, "by": by, "at": datetime.now(UTC).isoformat()}
    if verdict == "fix":
        line |= _fitting(row, texts or {})
    with (folder / FILE).open("a", encoding="utf-8") as file:
        file.write(as_line(line))
        file.flush()
        os.fsync(file.fileno())


def verdicts(folder: Path) -> dict[str, Row]:
    """The verdict that counts of each row, by its id. Raises CorpusError that names the line."""
    path, found = folder / FILE, {}
    if not path.exists():
        return {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            verdict = _verdict(f"{path}, line {number}", line)
            found[verdict["id"]] = verdict
    return found


def digest(folder: Path) -> str | None:
    """Of the verdicts; None without any."""
    path = folder / FILE
    return sha256(path) if path.exists() else None


def heeded(
    said: Mapping[str, Row], rows: Iterable[Row], counts: Counter[str] | None = None
) -> Iterator[Row]:
    """The rows as their `verdicts` leave them, without the dropped; counts what became of them."""
    for row in rows:
        verdict = said.get(row["id"])
        if verdict is not None and counts is not None:
            counts[verdict["verdict"]] += 1
        if verdict is None or verdict["verdict"] == "keep":
            yield row
        elif verdict["verdict"] == "fix":
            changed = masked({**row, **_fitting(row, verdict)})
            yield {name: value for name, value in changed.items() if name != "masked"}


def _verdict(where: str, line: str) -> Row:
    try:
        verdict = json.loads(line)
    except ValueError as error:
        raise CorpusError(f"{where} is not JSON: {error}. Mend it or take it out.") from None
    if not isinstance(verdict, dict) or not isinstance(verdict.get("id"), str):
        raise CorpusError(f"{where} names no row: it needs the `id` of one in {REVIEW}.")
    if verdict.get("verdict") not in VERDICTS:
        said = verdict.get("verdict")
        raise CorpusError(f"{where} has the verdict {said!r}; it is one of {', '.join(VERDICTS)}.")
    return verdict


def _fitting(row: Row, texts: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the texts that the row has; each has to be of its form, and not empty."""
    found = {}
    for name, was in texts_of(row).items():
        if name in texts:
            if type(texts[name]) is not type(was) or not texts[name]:
                what = "a text" if isinstance(was, str) else "a list of messages"
                raise CorpusError(f"{name} of {row['id']} must be {what}, and not empty.")
            found[name] = texts[name]
    if not found:
        names = ", ".join(texts_of(row))
        raise CorpusError(f"The fix of {row['id']} changes nothing: it needs one of {names}.")
    return found
