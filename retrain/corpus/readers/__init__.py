"""Readers, one file a kind of file: `SUFFIXES`, and `read(path) -> documents and troubles`.

A reader imports what it needs when it reads, as only `pip install 'redraft[corpus]'` brings it. It
gives what it can and a Trouble for each part that it cannot; CorpusError where nothing is readable.
"""

import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from retrain.corpus.document import Document
from retrain.corpus.stage import CorpusError, Trouble


class Reader(Protocol):
    """A file of this folder."""

    SUFFIXES: tuple[str, ...]

    def read(self, path: Path) -> Iterator[Document | Trouble]: ...


def names() -> list[str]:
    """The readers in this folder."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))


@cache
def suffixes() -> dict[str, str]:
    """The name of the reader for each suffix."""
    return {suffix: name for name in names() for suffix in reader(name).SUFFIXES}


def reader(name: str) -> Reader:
    found: Any = importlib.import_module(f"retrain.corpus.readers.{name}")
    return found  # type: ignore[no-any-return]


def need(module: str, what: str) -> ModuleType:
    """A library of the extra `corpus`. Raises CorpusError where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise CorpusError(
            f"{what} cannot be read without {module.partition('.')[0]}. Install it: "
            "pip install 'redraft[corpus]'"
        ) from error
