"""The rewriter adapter that fits a base model: one trained here, or a shipped one."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prompts import load_prompt

log = logging.getLogger("redraft")
SHIPPED = Path(__file__).parent / "adapters"
OWN = "rewriters"  # in REDRAFT_HOME; `redraft retrain rewriter` puts them there


def find_adapter(model: str, home: Path | None = None, shipped: bool = True) -> Path | None:
    """The newest whole adapter of base model `model` in `home`, else the shipped one, else None.

    One that was trained on another form of the prompt is passed over with a warning.
    """
    folders = [home.expanduser() / OWN] if home is not None else []
    folders += [SHIPPED] if shipped else []
    for folder in folders:
        fitting = [
            (manifest.get("created_at", ""), path)
            for path, manifest in _whole(folder)
            if manifest.get("base_model") == model and _same_prompt(path, manifest)
        ]
        if fitting:
            return max(fitting)[1]
    return None


def adapter_name(path: Path) -> str:
    """The immutable name in the adapter's manifest."""
    return str(json.loads((path / "manifest.json").read_text(encoding="utf-8"))["adapter"])


def _whole(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for file in sorted(folder.glob("*/manifest.json")):
        try:
            yield file.parent, json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            log.warning("Rewriter adapter %s has a broken manifest; it is not used.", file.parent)


def _same_prompt(path: Path, manifest: dict[str, Any]) -> bool:
    now = load_prompt("rewrite/adapter").hash
    if manifest.get("prompt_hash") == now:
        return True
    log.warning(
        "Rewriter adapter %s was trained on prompt %s; this version asks with %s. Train it again "
        "with `redraft retrain rewriter`.", path, manifest.get("prompt_hash"), now,
    )  # fmt: skip
    return False
