"""Engines, one file each, found by name and imported only when asked for."""

import importlib
import importlib.util
import logging
from functools import cache
from pathlib import Path

from serve.engines import vllm_python
from serve.engines.base import Engine, EngineError, Options, Unsupported

log = logging.getLogger("redraft")

DEFAULT = Options()
FASTEST_FIRST = ("openvino", "transformers")
ON_CPU = {"openvino"}  # where there is a GPU, they would leave it idle
ELSEWHERE = ("openai", "vllm")  # engines that may be servers on another machine


def open_engine(name: str, model: str, home: Path, options: Options = DEFAULT) -> Engine:
    """Open engine `name` on a base model; "auto" is the fastest one here that serves it.

    Raises EngineError.
    """
    *faster, last = _installed() if name == "auto" else [name]
    if options.url and (here := resolve(name)) not in ELSEWHERE:
        raise EngineError(
            f"REDRAFT_ENGINE_URL is {options.url}, but engine {here} runs on this machine. Set "
            f"REDRAFT_ENGINE to {' or '.join(ELSEWHERE)}, or leave the URL out."
        )
    for candidate in faster:
        try:
            return _open(candidate, model, home, options)
        except Unsupported as error:
            log.info("%s `auto` tries the next one.", error)
    return _open(last, model, home, options)


def resolve(name: str) -> str:
    """The engine's file name behind `auto`: the fastest that is installed for this machine."""
    return _installed()[0] if name == "auto" else name


def _installed() -> list[str]:
    found = [name for name in FASTEST_FIRST if importlib.util.find_spec(name)]
    if vllm_python.fits_here():
        found.insert(0, "vllm")
    if found and found[0] in ON_CPU and _has_gpu():
        found = [name for name in found if name not in ON_CPU]
    if not found:
        raise EngineError(
            "No engine is installed: `auto` looked for "
            + ", ".join(FASTEST_FIRST)
            + ". Install `redraft`, or start with REDRAFT_ENGINE=echo to try the page without a "
            "model."
        )
    return found


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _open(name: str, model: str, home: Path, options: Options) -> Engine:
    return _module(name).open_engine(model, home, options)  # type: ignore[no-any-return]


def _module(name: str):  # type: ignore[no-untyped-def]
    known = engine_names()
    if name not in known:
        raise EngineError(f"There is no engine {name!r}. Known: {', '.join(known)}.")
    return importlib.import_module(f"serve.engines.{name}")


@cache
def engine_names() -> list[str]:
    """The engines in this folder: every file that can open one; the others they share."""
    files = sorted(Path(__file__).parent.glob("[!_]*.py"))
    return [p.stem for p in files if "\ndef open_engine(" in p.read_text(encoding="utf-8")]
