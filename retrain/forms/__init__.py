"""The forms that rows have in files, one file a form; `_` in a name is `-` on the command line.

A form that is written has `MADE_OF` and `write(thing) -> row`, of the examples of the dataset
`OF`, or of rows of the record where that is None; None for what it cannot express. A form that is
read has `read(row) -> list of Told` (see `_told`), which raises Broken. The datasets of
`retrain.datasets` are written as they are.
"""

import importlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from retrain import datasets
from retrain.forms._told import Broken, Told

__all__ = ["Broken", "Told", "made_of", "read", "readable", "source", "write", "writable"]


def writable() -> list[str]:
    """What `redraft export` writes."""
    return sorted(
        {*datasets.names(), *(name for name in _names() if hasattr(_form(name), "write"))}
    )


def readable() -> list[str]:
    """What `redraft import` reads."""
    return [name for name in _names() if hasattr(_form(name), "read")]


def made_of(name: str) -> str:
    """The feedback that makes rows of that form."""
    return datasets.made_of(name) if name in datasets.names() else str(_form(name).MADE_OF)


@cache
def source(name: str) -> str | None:
    """The dataset that the form is written of; None for rows of the record."""
    if name in datasets.names():
        return name
    dataset: str | None = _form(name).OF
    return dataset


def write(name: str, thing: dict[str, Any]) -> dict[str, Any] | None:
    """A row of that form; None where it cannot say what the thing says."""
    if source(name) == name:
        return thing
    row: dict[str, Any] | None = _form(name).write(thing)
    return row


def read(name: str, row: dict[str, Any]) -> Sequence[Told]:
    """What a row says. Raises Broken."""
    told: Sequence[Told] = _form(name).read(row)
    return told


def _names() -> list[str]:
    found = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return sorted(name.replace("_", "-") for name in found if not name.startswith("_"))


def _form(name: str) -> Any:
    return importlib.import_module(f"retrain.forms.{name.replace('-', '_')}")
