"""Engines, one file each, found by name and imported only when asked for."""

import importlib
import importlib.util
from pathlib import Path

from serve.engines import vllm_python
from serve.engines.base import Engine, EngineError, Options

DEFAULT = Options()
FASTEST_FIRST = ("transformers",)
SHARED = {
    "__init__", "adapter_folder", "base", "batching", "builtin", "delimiter", "grammar",
    "instances", "remote", "sampler", "text", "tokenizer", "turns", "vllm_python", "vllm_wire",
}  # fmt: skip


def open_engine(name: str, model: str, home: Path, options: Options = DEFAULT) -> Engine:
    """Open engine `name` ("auto": the fastest installed) on a base model. Raises EngineError."""
    return _module(resolve(name)).open_engine(model, home, options)  # type: ignore[no-any-return]


def resolve(name: str) -> str:
    """The engine's file name behind `auto`."""
    if name != "auto":
        return name
    if vllm_python.fits_here():
        return "vllm"
    for candidate in FASTEST_FIRST:
        if importlib.util.find_spec(candidate):
            return candidate
    raise EngineError(
        "No engine is installed: `auto` looked for "
        + ", ".join(FASTEST_FIRST)
        + ". Install `redraft`, or start with REDRAFT_ENGINE=echo to try the page without a model."
    )


def _module(name: str):  # type: ignore[no-untyped-def]
    known = engine_names()
    if name not in known:
        raise EngineError(f"There is no engine {name!r}. Known: {', '.join(known)}.")
    return importlib.import_module(f"serve.engines.{name}")


def engine_names() -> list[str]:
    """The engines in this folder: every file that is not shared by them."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in SHARED)
