"""Feedback to training data, one file a dataset, each `build(rows) -> list of examples`.

Examples carry the columns that their trainer reads (TRL's, see `retrain.job.TrainJob`) and two of
ours, which `columns` takes off again: `feedback_id`, and `signal`, the kind of verdict that they
come from (`correction`, `pick`, `thumb`; `reasoning_correction` and `reasoning_thumb` where it is
on a reasoning). `MADE_OF` names the feedback that makes some, in the words of a user.
"""

import importlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from retrain.parts import on_reasoning
from retrain.reviews import reviewed
from retrain.rows import Row, prompt_key

Example = dict[str, Any]
OURS = ("feedback_id", "signal")


class UnknownDataset(Exception):
    """A recipe names a dataset that has no file here."""


def build(name: str, rows: Sequence[Row]) -> list[Example]:
    """The examples of dataset `name` in the rows that no reviewer overrules.

    Raises UnknownDataset.
    """
    examples: list[Example] = _module(name).build(reviewed(rows))
    return examples


def made_of(name: str) -> str:
    """The feedback that makes examples of dataset `name`. Raises UnknownDataset."""
    return str(_module(name).MADE_OF)


def said_once(name: str, row: Row, example: Example) -> tuple[str, ...] | None:
    """Equal for examples of which one counts, whichever conversation; None where all do."""
    return said_key(row, example) if getattr(_module(name), "SAID_ONCE", False) else None


def names() -> list[str]:
    """The datasets in this folder."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))


def signal(row: Row, verdict: str) -> str:
    """The signal of an example that comes of the row."""
    return f"reasoning_{verdict}" if on_reasoning(row) else verdict


def said_key(row: Row, example: Example) -> tuple[str, ...]:
    """Equal for the examples of one user with one text under one prompt."""
    before, said = example["prompt"][-1]["content"], example["completion"][0]["content"]
    return row["user_id"], prompt_key(row), before, said


def columns(example: Example) -> Example:
    """The example as a trainer gets it."""
    return {key: value for key, value in example.items() if key not in OURS}


@cache
def _module(name: str) -> Any:
    if name not in names():
        raise UnknownDataset(f"There is no dataset {name!r}. Known: {', '.join(names())}.")
    return importlib.import_module(f"retrain.datasets.{name}")
