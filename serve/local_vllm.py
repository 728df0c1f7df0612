"""`python -m serve.local_vllm`: the vLLM that `redraft up` runs, as a process that watches it.

vLLM is several processes in an environment of its own. This one prepares what they load, keeps
their log in REDRAFT_HOME, tells how the loading goes, and leaves none of them behind: it ends when
vLLM does, and the supervisor starts both again.
"""

import json
import logging
import multiprocessing
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from serve.engines.base import EngineError
from serve.engines.builtin import model_source
from serve.engines.vllm_python import LOG, refuse_bitsandbytes, require_vllm_python
from serve.logs import log_to_stderr
from serve.processes import ProcessError, end_with_parent
from serve.settings import Settings, SettingsError, load_settings

log = logging.getLogger("redraft")

START = Path(__file__).parent / "vllm_start" / "start.py"
RANKS = (16, 32, 64, 128, 256, 320, 512)  # what --max-lora-rank takes, from its default up
ADAPTERS = 4  # that one batch may mix: champion, canary, rewriter, one that drains
# The library of our own embedded engines; free white space is where small models lose themselves.
GRAMMAR = {"backend": "guidance", "disable_any_whitespace": True}
STOP_SECONDS = 10.0  # less than the supervisor's patience with this process
TELL_SECONDS = 15.0
HEAD = re.compile(r"^\(.*? pid=\d+\)|[A-Z]+ [\d-]+ [\d:]+ \[.*?\]")  # of a line of vLLM's log


def health_url(settings: Settings) -> str:
    """Where this machine's vLLM says whether it is ready."""
    return f"http://127.0.0.1:{settings.vllm_port}/health"


def ready(settings: Settings) -> bool:
    """Whether it answers now."""
    try:
        return httpx.get(health_url(settings), timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def command(settings: Settings) -> list[str]:
    """What starts vLLM on the base model. Raises EngineError without vLLM or model."""
    refuse_bitsandbytes(settings.quantization)
    python = require_vllm_python(settings.vllm_python)
    # In a process of its own: its torch is gone from memory when it is done.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        source, layers = pool.submit(_prepare, settings.model, settings.home).result()
    told = [
        str(python), str(START),
        "--model", source, "--served-model-name", settings.model,
        "--host", "127.0.0.1", "--port", str(settings.vllm_port),
        "--enable-prefix-caching", "--enable-prompt-tokens-details",
        "--logprobs-mode", "processed_logprobs",
        "--enable-lora", "--max-lora-rank", str(highest_rank(settings)),
        "--max-loras", str(ADAPTERS), "--max-cpu-loras", str(2 * ADAPTERS),
        # Not the head: with it, scoring a text while others are answered ends vLLM on a CPU, and
        # scores without the adapter elsewhere (vllm-project/vllm#51594).
        "--lora-target-modules", *layers,
        "--structured-outputs-config", json.dumps(GRAMMAR),
        "--disable-uvicorn-access-log",
    ]  # fmt: skip
    return told + shlex.split(settings.vllm_args)


def _prepare(model: str, home: Path) -> tuple[str, list[str]]:
    """What vLLM loads, and the names of the layers that an adapter may change."""
    log_to_stderr("vllm")
    source = model_source(model, home)
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from serve.engines.tokenizer import unreadable

    try:
        config = AutoConfig.from_pretrained(source)
        with torch.device("meta"):
            bare = AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError) as error:
        raise unreadable(model, error) from error
    layers = bare.get_decoder().named_modules()
    return source, sorted(
        {name.rpartition(".")[2] for name, layer in layers if isinstance(layer, torch.nn.Linear)}
    )


def environment(settings: Settings) -> dict[str, str]:
    """This process's, without what belongs to our own Python, and vLLM's switches."""
    own = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    switches = {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "2",  # GiB, where there is no GPU
    }
    key = {"VLLM_API_KEY": settings.engine_api_key} if settings.engine_api_key else {}
    return {**switches, **own, **key}


def highest_rank(settings: Settings) -> int:
    """The least rank vLLM can be started with that takes every adapter there is."""
    configs = [
        *(settings.home / "adapters").glob("*/adapter_config.json"),
        *(Path(__file__).parent / "turn" / "rewriting" / "adapters").glob("*/adapter_config.json"),
    ]
    highest = max((_rank(config) for config in configs), default=0)
    return next((rank for rank in RANKS if rank >= highest), RANKS[-1])


def _rank(config: Path) -> int:
    try:
        told = json.loads(config.read_text())
        return int(max([told["r"], *told.get("rank_pattern", {}).values()]))
    except (OSError, ValueError, KeyError) as error:
        log.warning("%s is unreadable and left out: %s", config, error)
        return 0


def run(settings: Settings) -> int:
    """Start vLLM and stay until it ends; its exit code. A SIGTERM to this process ends both."""
    words = settings.home / LOG
    told = command(settings)
    _end_leftovers(told)
    began = time.monotonic()
    with words.open("wb") as out:
        out.write(f"$ {shlex.join(told)}\n".encode())
        out.flush()
        with _group(told, environment(settings), out) as process:
            log.info("Loading %s in vLLM; its log is %s", settings.model, words)
            code = _tell(process, settings, words, began)
    log.error("vLLM ended (code %s). %s has all of it; the end:\n%s", code, words, _end(words))
    return code or 1  # nobody asked it to end


def _tell(process: "subprocess.Popen[bytes]", settings: Settings, words: Path, began: float) -> int:
    """Say how the loading goes, then wait for the end."""
    tell = began + TELL_SECONDS
    while (code := process.poll()) is None and not ready(settings):
        if time.monotonic() >= tell:
            log.info("vLLM still loads after %.0f s: %s", tell - began, _last_line(words))
            tell += TELL_SECONDS
        time.sleep(0.5)
    if code is None:
        log.info("vLLM is ready after %.0f s", time.monotonic() - began)
    return process.wait()


@contextmanager
def _group(
    told: list[str], environment: dict[str, str], out: Any
) -> Iterator["subprocess.Popen[bytes]"]:
    """vLLM in a process group of its own, of which nothing is left behind."""
    process = subprocess.Popen(  # noqa: S603
        told, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _end_leftovers(told: list[str]) -> None:
    """End what a watcher that was killed has left on the same port."""
    started = slice(1, told.index("--port") + 2)
    for process in psutil.process_iter(["cmdline"]):
        if (process.info["cmdline"] or [])[started] == told[started]:
            log.warning("A vLLM from an earlier start still runs (%d) and is ended", process.pid)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_SECONDS)


def _last_line(words: Path) -> str:
    lines = words.read_text(errors="replace").splitlines()[1:]  # behind the command
    said = (HEAD.sub("", line).strip() for line in reversed(lines))
    return next((line[:160] for line in said if line), "its Python starts")


def _end(words: Path) -> str:
    """The lines that name an error, or the last ones."""
    lines = words.read_text(errors="replace").splitlines()
    named = [line for line in lines if "Error" in line]
    return "\n".join((named or lines)[-6:])


def main() -> int:
    log_to_stderr("vllm")
    end_with_parent()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        settings = load_settings()
        log_to_stderr("vllm", settings.log)
        return run(settings)
    except (SettingsError, ProcessError, EngineError) as error:
        print(f"redraft: {error}", file=sys.stderr)  # noqa: T201 - the last line of a process
        return 1


if __name__ == "__main__":
    sys.exit(main())
