"""Files that exist whole or not at all: another name first, synced, renamed; the manifest last."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Another name to write under; at the end it takes the place of `path` in one move.

    A reader sees the old file, the new one, never a part. An exception leaves the old one.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        _sync(part)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)  # a full disk needs the room
        raise
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Put the text there in one move."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """As `write_text`, the value as readable JSON."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """As `write_text`, one JSON object a line; takes the rows as they come."""
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        file.writelines(map(as_line, rows))


def as_line(row: Mapping[str, Any]) -> str:
    """The row as a line of JSON Lines."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def read_rows(path: Path) -> list[dict[str, Any]]:
    # Not splitlines(): a text may hold U+2028, which is no line end in JSON Lines.
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def start_over(folder: Path) -> Path:
    """The folder, empty: what an interrupted step left is never built upon."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def seal(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write the folder's manifest, the facts and the sha256 of every file: the folder is done."""
    for path in _files(folder):
        _sync(path)
    manifest = {**facts, "files": {str(p.relative_to(folder)): sha256(p) for p in _files(folder)}}
    write_json(folder / MANIFEST, manifest)
    return manifest


def sealed(folder: Path) -> dict[str, Any] | None:
    """The manifest of a folder that is whole; None when it is unfinished or was changed since."""
    try:
        manifest: dict[str, Any] = read_json(folder / MANIFEST)
        files = manifest["files"]
        whole = all(sha256(folder / name) == digest for name, digest in files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return manifest if whole else None


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Make renames in the folder durable."""
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)
