"""PEFT methods, one file each, found by name: what of a model a training changes.

Each has `KIND`, PEFT's name for the adapters that it makes; `SETTINGS`, what it changes of a
trainer's defaults; `load(folder, dtype, device)`, the frozen base; `begin(base, folder, settings)`
and `go_on(base, folder, settings, start)`, the base with a fresh adapter or that of a folder.
"""

import importlib
from pathlib import Path
from typing import Any


def names() -> list[str]:
    """The methods in this folder."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))


def find(name: object) -> Any:
    """The method of that name. Raises ValueError."""
    if name not in names():
        known = ", ".join(names())
        raise ValueError(f"Unknown PEFT method {name!r}. Known: {known}. Correct the recipe.")
    return importlib.import_module(f"retrain.trainers.methods.{name}")
