"""Engines, one file each, found by name and imported only when asked for."""

import ast
import importlib
import importlib.util
import logging
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from serve.engines import vllm_python
from serve.engines.adapter_folder import LORA
from serve.engines.base import Engine, EngineError, Options, Unsupported
from serve.engines.device import settle_device

log = logging.getLogger("redraft")

DEFAULT = Options()
FASTEST_FIRST = ("openvino", "transformers")
ON_CPU = {"openvino"}  # where there is a GPU, they would leave it idle
ELSEWHERE = ("openai", "vllm")  # engines that may be servers on another machine


def open_engine(name: str, model: str, home: Path, options: Options = DEFAULT) -> Engine:
    """Open engine `name` on a base model; "auto" is the fastest one here that serves it.

    Raises EngineError.
    """
    if name not in ELSEWHERE:
        settle_device(options.device)
    *faster, last = _installed(options.quantization) if name == "auto" else [name]
    if options.url and (here := resolve(name, options.quantization)) not in ELSEWHERE:
        raise EngineError(
            f"REDRAFT_ENGINE_URL is {options.url}, but engine {here} runs on this machine. Set "
            f"REDRAFT_ENGINE to {' or '.join(ELSEWHERE)}, or leave the URL out."
        )
    if options.device == "cuda" and name in ON_CPU:
        raise EngineError(
            f"Engine {name} computes on the CPU, and REDRAFT_DEVICE is cuda. Leave one of the two "
            "out, or start with REDRAFT_ENGINE=transformers."
        )
    for candidate in faster:
        try:
            return _open(candidate, model, home, options)
        except Unsupported as error:
            log.info("%s `auto` tries the next one.", error)
    return _open(last, model, home, options)


def open_judging(name: str, model: str, home: Path, options: Options = DEFAULT) -> Engine:
    """Open what adapters are judged with beside a server of engine `name`: the same engine code,
    or `transformers` on this machine's weights where the server may be elsewhere.

    Raises EngineError.
    """
    here = "transformers" if resolve(name, options.quantization) in ELSEWHERE else name
    return open_engine(here, model, home, replace(options, url=""))


def resolve(name: str, quantization: str = "none") -> str:
    """The engine's file name behind `auto`: the fastest that is installed for this machine.

    With a `quantization` vLLM is none of them: its forms are others, and are not set that way.
    """
    return _installed(quantization)[0] if name == "auto" else name


def _installed(quantization: str) -> list[str]:
    found = [name for name in FASTEST_FIRST if importlib.util.find_spec(name)]
    if quantization == "none" and vllm_python.fits_here():
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


@cache
def says(name: str | None, constant: str) -> Any:
    """A constant of an engine's file, None where it has none.

    The file is read and not imported: torch comes with some.
    """
    if name not in engine_names():
        return None
    text = (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == constant:
            return ast.literal_eval(node.value)
    return None


def carried(name: str, quantization: str = "none") -> tuple[str, ...]:
    """The kinds of adapters, in PEFT's words, that engine `name` loads."""
    more = says(name, "KINDS") if quantization == "none" else None
    return more or (LORA,)
