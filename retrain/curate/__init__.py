"""Which rows of a snapshot count: one file a step, each `apply(rows, settings) -> Outcome`.

A step gives the rows that stay, in order, and what became of the others: dropped, or held back in
quarantine, which a reviewer can look through. It never moves a row between train and held-out, and
held-out rows have no say in which training rows stay, except where people are counted (`bursts`,
`min_users`) and in what a reviewer overrules. The steps of `FREEZING` change texts and keep all
rows but those that a reviewer dropped. A step with `SEES_ALL` is `apply(rows, settings, given)`:
it judges by all rows that were there before any step.
"""

import importlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from retrain.curate._outcome import Outcome
from retrain.rows import Row
from serve.settings import Settings

# On the way out of the record, before a text is written to any file.
FREEZING = ("reviewed", "normalise", "mask")
# What hostile votes teach is sought before duplicates go: their number is what gives them away.
DEFAULT = (
    "attributable",
    "length",
    "language",
    "dictated",
    "bursts",
    "min_users",
    "duplicates",
    "near_duplicates",
    "per_user_cap",
)
# Whatever steps a recipe names: `overruled` before rows are selected, `disowned` after it.
OVERRIDES = ("overruled", "disowned")


class UnknownStep(Exception):
    """A recipe names a step that has no file here."""


@dataclass(frozen=True)
class Report:
    """What a step did."""

    step: str
    rows_in: int
    rows_out: int
    dropped: dict[str, int]  # reason: rows
    held: dict[str, int]  # reason: rows in quarantine
    changed: dict[str, int]  # what: rows whose texts the step changed

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Curated:
    """The rows that count, those in quarantine as {step, reason, row}, and a report a step.

    Of dropped ones {step, feedback_id}: enough to find them in the record, for who asks why.
    """

    rows: list[Row]
    quarantine: list[dict[str, Any]]
    reports: list[Report]
    dropped: list[dict[str, str]]


def curate(
    rows: Sequence[Row],
    settings: Settings,
    steps: Sequence[str] = DEFAULT,
    given: Sequence[Row] | None = None,
) -> Curated:
    """Put the rows through the steps. Raises UnknownStep.

    `given` are the rows before any step, where others took some out already.
    """
    before_all = rows if given is None else given
    kept, quarantine, reports = list(rows), list[dict[str, Any]](), []
    gone: list[dict[str, str]] = []
    for step in steps:
        outcome = _applied(step, kept, settings, before_all)
        gone += dropped(step, kept, [*outcome.kept, *(row for row, _ in outcome.held)])
        before, kept = len(kept), outcome.kept
        held = Counter(reason for _, reason in outcome.held)
        told = (dict(outcome.dropped), dict(held), dict(outcome.changed))
        reports.append(Report(step, before, len(kept), *told))
        quarantine += [{"step": step, "reason": why, "row": row} for row, why in outcome.held]
    return Curated(kept, quarantine, reports, gone)


def _applied(step: str, rows: list[Row], settings: Settings, given: Sequence[Row]) -> Outcome:
    module = _module(step)
    seen = (given,) if getattr(module, "SEES_ALL", False) else ()
    outcome: Outcome = module.apply(rows, settings, *seen)
    return outcome


def dropped(step: str, before: Sequence[Row], after: Sequence[Row]) -> list[dict[str, str]]:
    """The rows that a step left out, as {step, feedback_id}."""
    left = {row["feedback_id"] for row in after}
    ids = (row["feedback_id"] for row in before)
    return [{"step": step, "feedback_id": id} for id in ids if id not in left]


def names() -> list[str]:
    """The steps in this folder."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))


def _module(step: str) -> Any:
    if step not in names():
        raise UnknownStep(f"There is no curate step {step!r}. Known: {', '.join(names())}.")
    return importlib.import_module(f"retrain.curate.{step}")
