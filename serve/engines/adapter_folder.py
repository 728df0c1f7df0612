"""Checks on an adapter's folder, before any engine touches it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from serve.engines.base import AdapterError

MANIFEST = "manifest.json"


def verify_adapter(name: str, path: Path, model: str) -> dict[str, Any]:
    """The folder's manifest, once it is whole and fits base model `model`. Raises AdapterError.

    A folder without a manifest of ours (a plain PEFT folder) is let through when it has PEFT's own
    files; its manifest is then empty.
    """
    for needed in ("adapter_config.json", "adapter_model.safetensors"):
        if not (path / needed).is_file():
            raise AdapterError(
                f"Adapter {name} has no {needed} in {path}. Copy the whole folder back, or roll "
                "back with `redraft adapters rollback`."
            )
    if not (path / MANIFEST).is_file():
        return {}
    manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text())
    for file, digest in manifest.get("files", {}).items():
        _check_digest(name, path / file, digest)
    trained_on = manifest.get("base_model", model)
    if trained_on != model:
        raise AdapterError(
            f"Adapter {name} was trained on {trained_on}; this engine serves {model}. Start with "
            f"REDRAFT_MODEL={trained_on} or retrain."
        )
    return manifest


def _check_digest(name: str, file: Path, expected: str) -> None:
    if not file.is_file():
        raise AdapterError(
            f"Adapter {name} lacks {file.name}, which its manifest in {file.parent} lists. Restore "
            "the folder from a copy or train again; it was not loaded."
        )
    actual = hashlib.sha256(file.read_bytes()).hexdigest()
    if actual != expected:
        raise AdapterError(
            f"Adapter {name} is damaged: {file.name} ({file.stat().st_size} bytes) has sha256 "
            f"{actual[:9]}…, its manifest says {expected[:9]}…. Restore {file.parent} from a copy "
            "or train again; it was not loaded."
        )
