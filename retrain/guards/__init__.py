"""Things that must not regress, one file each: `check(bench) -> Guard`.

A guard compares the candidate with what serves now, on its own prompts, and holds when the
candidate is within the guard's margin.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serve.engines.base import Engine

Messages = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Bench:
    """What a guard may use."""

    engine: Engine
    champion: str | None  # None: the base model serves
    candidate: str
    prompts: Sequence[Messages]  # of held-out feedback, a few
    beat: Callable[[], None] = lambda: None  # called between answers: the run is alive


@dataclass(frozen=True)
class Guard:
    """What a guard found; `limit` is the worst value with which it holds."""

    name: str
    held: bool
    champion: float | None
    candidate: float
    limit: float
    detail: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def names() -> list[str]:
    """The guards in this folder."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))


def check(name: str, bench: Bench) -> Guard:
    """Run one guard."""
    guard: Guard = importlib.import_module(f"retrain.guards.{name}").check(bench)
    return guard
