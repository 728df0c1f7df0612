"""What the steps of a run share: its settings, its record, its folders."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feedback import adapters
from feedback.database import Database
from feedback.tables import Adapter
from retrain.manifest import MANIFEST, read_json, sealed
from retrain.progress import Tracker
from serve.engines import open_judging
from serve.engines.base import Engine, Options
from serve.settings import Settings

QUARANTINE = "quarantine.jsonl"  # in the folder of step curate
REPORT = "report.html"  # in the folder of step gate


class Unusable(Exception):
    """What a step needs is not there or damaged; the message says what next."""


@dataclass(frozen=True)
class Work:
    """One run at work."""

    settings: Settings
    database: Database
    run_id: str
    recipe: Mapping[str, Any]  # what a recipe file said; empty: decide by what there is
    tracker: Tracker

    @property
    def folder(self) -> Path:
        return run_folder(self.settings, self.run_id)

    @property
    def snapshot(self) -> Path:
        return self.settings.home / "snapshots" / self.run_id.replace("r-", "s-")

    def done(self, step: str) -> dict[str, Any]:
        """The manifest of a step that is done. Raises Unusable."""
        folder = self.snapshot if step == "snapshot" else self.folder / step
        manifest = sealed(folder)
        if manifest is None:
            raise Unusable(
                f"Step {step} of {self.run_id} is not whole in {folder}. Start a new run."
            )
        return manifest

    def champion(self) -> Adapter | None:
        """The adapter that serves and that this base model can carry, else None."""
        with self.database.reading() as session:
            found = adapters.champion(session)
        return found if found and found.base_model == self.settings.model else None


def run_folder(settings: Settings, run_id: str) -> Path:
    """Where a run keeps its steps and its log."""
    return settings.home / "runs" / run_id


def report_page(settings: Settings, run_id: str) -> Path:
    """Where the run's report for people is, once it was judged."""
    return run_folder(settings, run_id) / "gate" / REPORT


def quarantine(settings: Settings, run_id: str) -> tuple[Path, dict[str, int]]:
    """(the file, how many rows in it for which reason) of what the run held back."""
    folder = run_folder(settings, run_id) / "curate"
    try:
        found: dict[str, int] = read_json(folder / MANIFEST).get("quarantine", {})
    except FileNotFoundError:
        found = {}
    return folder / QUARANTINE, found


@contextmanager
def engine_with(settings: Settings, names: Iterable[str]) -> Iterator[Engine]:
    """An engine with these adapters. Raises Unusable when one is gone."""
    options = Options(**settings.engine_options)
    engine = open_judging(settings.engine, settings.model, settings.home, options)
    try:
        for name in names:
            folder = settings.home / "adapters" / name
            if not folder.is_dir():
                raise Unusable(f"Adapter {name} is gone from {folder.parent}. Start a new run.")
            engine.load_adapter(name, folder)
        yield engine
    finally:
        engine.close()
