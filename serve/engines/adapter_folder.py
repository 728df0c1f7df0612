"""Checks on an adapter's folder, before any engine touches it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from serve.engines.base import AdapterError

MANIFEST = "manifest.json"
LORA = "LORA"  # PEFT's own name of the kind that every engine loads


def kind_of(path: Path) -> str:
    """The kind of the adapter in a folder."""
    config: dict[str, Any] = json.loads((path / "adapter_config.json").read_text(encoding="utf-8"))
    return str(config.get("peft_type", LORA))


def verify_adapter(
    name: str, path: Path, model: str, kinds: tuple[str, ...] = (LORA,)
) -> dict[str, Any]:
    """The folder's manifest, once it is whole, of one of these kinds, and fits base model `model`.

    Raises AdapterError.

    A folder without a manifest of ours (a plain PEFT folder) is let through when it has PEFT's own
    files; its manifest is then empty.
    """
    for needed in ("adapter_config.json", "adapter_model.safetensors"):
        if not (path / needed).is_file():
            raise AdapterError(
                f"Adapter {name} has no {needed} in {path}. Copy the whole folder back, or roll "
                "back with `redraft adapters rollback`."
            )
    if (kind := kind_of(path)) not in kinds:
        raise AdapterError(
            f"Adapter {name} is of kind {kind}; this engine loads {', '.join(kinds)}. Start with "
            "REDRAFT_ENGINE=transformers and no REDRAFT_QUANTIZATION, or train by lora."
        )
    if not (path / MANIFEST).is_file():
        return {}
    manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text())
    for file, digest in manifest.get("files", {}).items():
        _check_digest(name, path / file, digest)
    check_base(name, manifest.get("base_model", model), model)
    return manifest


def check_base(name: str, trained_on: str, model: str) -> None:
    """Raise AdapterError for an adapter of another base model than `model`."""
    if trained_on != model:
        raise AdapterError(
            f"Adapter {name} was trained on {trained_on}; this engine serves {model}. Start with "
            f"REDRAFT_MODEL={trained_on} or retrain."
        )


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
