"""Which rows of a snapshot count: one file a step, each `apply(rows, settings)`.

A step gives the rows that stay, unchanged and in order, and how many it dropped for which reason.
It never moves a row between train and held-out and judges the two apart.
"""

import importlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from retrain.rows import Row
from serve.settings import Settings

DEFAULT = ("attributable", "duplicates", "per_user_cap")


class UnknownStep(Exception):
    """A recipe names a step that has no file here."""


@dataclass(frozen=True)
class Report:
    """What a step did."""

    step: str
    rows_in: int
    rows_out: int
    dropped: dict[str, int]  # reason: rows

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def curate(
    rows: Sequence[Row], settings: Settings, steps: Sequence[str] = DEFAULT
) -> tuple[list[Row], list[Report]]:
    """The rows that pass all steps, and a report of each. Raises UnknownStep."""
    kept, reports = list(rows), []
    for step in steps:
        before = len(kept)
        kept, dropped = _module(step).apply(kept, settings)
        reports.append(Report(step, before, len(kept), dropped))
    return kept, reports


def names() -> list[str]:
    """The steps in this folder."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))


def _module(step: str) -> Any:
    if step not in names():
        raise UnknownStep(f"There is no curate step {step!r}. Known: {', '.join(names())}.")
    return importlib.import_module(f"retrain.curate.{step}")
