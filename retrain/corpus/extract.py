"""Stage 1: documents out of files, folders and a query, whatever kinds of files they are.

What cannot be read is a trouble that says what, why and what next, and the rest is read.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retrain.corpus import readers
from retrain.corpus.document import Document
from retrain.corpus.query import Query
from retrain.corpus.stage import CorpusError, Found, Stage, Tick, Trouble, guarded

NAME, OUTPUT = "extract", "documents.jsonl"
MB = 1_000_000
OLD = {".doc": ".docx", ".ppt": ".pdf", ".pptx": ".pdf", ".odt": ".docx", ".rtf": ".docx"}


@dataclass
class Sources:
    """The files to read, with what is wrong before any is opened."""

    files: list[tuple[str, Path]] = field(default_factory=list)  # (name, path)
    troubles: list[str] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)  # by suffix


def extract(
    folder: Path,
    paths: Sequence[Path],
    query: Query | None,
    max_mb: float,
    tick: Tick = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Read all sources into `folder`; gives the stage's manifest. Raises CorpusError."""
    sources = find(paths, folder)
    if not sources.files and query is None and not sources.troubles:
        raise CorpusError(_nothing(paths, sources))
    stage = Stage(folder, NAME, OUTPUT, _made_of(sources, query, max_mb))
    if stage.done:
        return stage.done
    inputs = len(sources.files) + (query is not None)
    with stage:
        for number, (name, path) in enumerate(sources.files, 1):
            tick(NAME, number - 1, inputs)
            if name not in stage.keys:
                stage.add(name, guarded(_read(name, path, max_mb), name))
        if query is not None and query.name not in stage.keys:
            stage.add(query.name, guarded(_rows(query), query.name))
        tick(NAME, inputs, inputs)
        stage.summary.troubles += sources.troubles
        return stage.finish(passed_over=dict(sorted(sources.passed_over.items())))


def find(paths: Sequence[Path], without: Path) -> Sources:
    """All files below the paths that a reader takes, in order of their names.

    What is in `without`, the corpus itself, is no source.
    """
    own = os.path.realpath(without)
    sources = Sources()
    for path in paths:
        if not os.path.lexists(path):
            sources.troubles.append(f"{path}: there is no such file or folder. Check the name.")
        elif path.is_dir():
            _descend(path, path.as_posix(), (os.path.realpath(path),), own, sources)
        else:
            _take(path, path.as_posix(), sources, asked_for=True)
    sources.files = list(dict(sources.files).items())  # a file that was named twice is read once
    return sources


def _descend(folder: Path, name: str, above: tuple[str, ...], own: str, sources: Sources) -> None:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        sources.troubles.append(f"{name}: the folder cannot be read ({error.strerror}).")
        return
    for entry in entries:
        path, place = Path(entry.path), f"{name}/{entry.name}"
        if entry.name.startswith("."):
            continue
        if not path.is_dir():  # False for a link to itself, of which the entry raises
            _take(path, place, sources)
            continue
        real = os.path.realpath(path)
        if real == own:
            continue
        if real in above:
            sources.troubles.append(
                f"{place}: the link leads back to {real}, a folder that it is in (a loop). It was "
                "not followed; remove it."
            )
        else:
            _descend(path, place, (*above, real), own, sources)


def _take(path: Path, name: str, sources: Sources, asked_for: bool = False) -> None:
    suffix = path.suffix.lower()
    if path.is_symlink() and not path.exists():
        why = "a link that leads nowhere, or to itself"
        sources.troubles.append(f"{name}: it is {why}. Remove it or mend it.")
    elif suffix in readers.suffixes():
        sources.files.append((name, path))
    elif suffix in OLD or asked_for:
        sources.troubles.append(f"{name}: {_unknown(suffix)}")
    else:
        sources.passed_over[suffix or "no suffix"] += 1


def _unknown(suffix: str) -> str:
    if suffix in OLD:
        way = f"soffice --headless --convert-to {OLD[suffix][1:]} FILE"
        return f"{suffix} is not read here. Save it as {OLD[suffix]}, for example with: {way}"
    known = " ".join(sorted(readers.suffixes()))
    return f"there is no reader for {suffix or 'a file without a suffix'}. Known: {known}"


def _made_of(sources: Sources, query: Query | None, max_mb: float) -> dict[str, Any]:
    files = []
    for name, path in sources.files:
        told = path.stat()
        files.append([name, str(path.absolute()), told.st_size, told.st_mtime_ns])
    asked = [query.name, query.sql] if query else None
    return {"files": files, "query": asked, "max_mb": max_mb, "wrong": sources.troubles}


def _read(name: str, path: Path, max_mb: float) -> Iterator[Found]:
    size = path.stat().st_size
    if size > max_mb * MB:
        raise CorpusError(
            f"it has {size / MB:,.0f} MB, more than the {max_mb:,.0f} that are read. Split it, or "
            "raise --max-mb."
        )
    if not path.is_file():
        raise CorpusError("it is no ordinary file. It was left out.")
    kind = readers.suffixes()[path.suffix.lower()]
    yield from _as_rows(readers.reader(kind).read(path), name, kind)


def _rows(query: Query) -> Iterator[Found]:
    yield from _as_rows(query.read(), query.name, "sql")


def _as_rows(found: Iterator[Document | Trouble], name: str, kind: str) -> Iterator[Found]:
    said = False
    for one in found:
        if isinstance(one, Trouble):
            said = True
            yield Trouble(f"{name}: {one.text}")
        elif (row := one.as_row(name, kind)) is not None:
            said = True
            yield row
    if not said:
        yield Trouble(f"{name}: there is no text in it.")


def _nothing(paths: Sequence[Path], sources: Sources) -> str:
    what = ", ".join(f"{n} {suffix}" for suffix, n in sources.passed_over.items()) or "nothing"
    where = ", ".join(map(str, paths)) or "no source"
    known = " ".join(sorted(readers.suffixes()))
    return f"There is nothing to read in {where} ({what}). Files that are read: {known}"
