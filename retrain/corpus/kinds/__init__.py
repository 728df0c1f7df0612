"""Kinds of rows that a teacher writes about a unit, one file a kind; `_` is `-` on a command line.

Each file has `KIND`, a `retrain.corpus.kinds._kind.Kind`: what is asked for, when a row counts, and
the examples that are made of it. Its prompts are `prompts/corpus/KIND/`, in English and Chinese.
Every row has a `question` and an `answer`, whatever else its kind adds.
"""

import importlib
from functools import cache
from pathlib import Path
from typing import Any

from retrain.corpus.kinds._kind import Kind
from retrain.corpus.stage import CorpusError, Row

__all__ = ["DEFAULT", "Kind", "kind", "names", "of"]

DEFAULT = "qa"


def names() -> list[str]:
    """The kinds in this folder."""
    found = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return sorted(name.replace("_", "-") for name in found if not name.startswith("_"))


@cache
def kind(name: str) -> Kind:
    """The kind of that name. Raises CorpusError."""
    if name not in names():
        raise CorpusError(f"There is no kind {name!r} of rows. Known: {', '.join(names())}.")
    module: Any = importlib.import_module(f"retrain.corpus.kinds.{name.replace('-', '_')}")
    found: Kind = module.KIND
    return found


def of(row: Row) -> Kind:
    """The kind that a row is of."""
    return kind(row.get("kind", DEFAULT))
