"""vLLM as `redraft up` runs it: a swap under load, and a kill that costs only the restart."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from conftest import VLLM, Redraft, free_port, wait_until
from safetensors.torch import load_file, save_file

from feedback import adapters
from feedback.database import open_database
from serve.local_vllm import START

pytestmark = pytest.mark.vllm
Make = Callable[..., Redraft]

FIRST, SECOND = "a-0101-aaaaaa", "a-0102-bbbbbb"
GREEDY = {"temperature": 0, "max_tokens": 24}


def register(server: Redraft, tiny_adapter: Path, name: str, sign: float) -> None:
    """Put an adapter into the server's home and record; `sign` makes it one of its own."""
    folder = server.home / "adapters" / name
    shutil.copytree(tiny_adapter, folder)
    weights = folder / "adapter_model.safetensors"
    changed = {
        key: value * sign if "lora_B" in key else value for key, value in load_file(weights).items()
    }
    save_file(changed, weights)
    database = open_database(f"sqlite:///{server.home / 'redraft.db'}")
    with database.session() as session:
        adapters.register_adapter(
            session,
            name=name,
            base_model=server.environment["REDRAFT_MODEL"],
            path=str(folder),
            digest=name,
        )
    database.close()


def processes(server: Redraft) -> list[psutil.Process]:
    """vLLM's own processes, its API server first; none between an end and the next start."""
    assert server.process is not None
    port = server.environment["REDRAFT_VLLM_PORT"]
    every = psutil.Process(server.process.pid).children(recursive=True)
    asked = {str(START), port}
    found = [p for p in every if asked <= words(p)]
    return [*found, *(child for api in found for child in api.children(recursive=True))]


def words(process: psutil.Process) -> set[str]:
    """Of its command line; none of one that has just ended."""
    try:
        return set(process.cmdline())
    except psutil.Error:
        return set()


def answer(server: Redraft) -> tuple[str, str]:
    """(adapter, text) of a greedy answer."""
    found = server.ask("hello", **GREEDY)
    return found["redraft"]["adapter"], found["choices"][0]["message"]["content"]


def status(server: Redraft) -> int:
    """Of a short question, which is answered or told that vLLM is away, and nothing else."""
    said = [{"role": "user", "content": "hello"}]
    body = {"model": "redraft", "messages": said, "max_tokens": 1}
    found = server.http.post("/v1/chat/completions", json=body)
    away = found.status_code == 503 and found.json()["error"]["code"] == "engine_unavailable"
    assert found.status_code == 200 or away, found.text
    return found.status_code


def promote(server: Redraft, name: str) -> None:
    done = server.http.post(f"/v1/adapters/{name}/promote", json={"reason": "test"})
    assert done.status_code == 200, done.text


class Load:
    """Clients that ask, whole and streamed, until the block ends; what they saw."""

    def __init__(self, server: Redraft, clients: int = 6) -> None:
        self.adapters: list[str] = []
        self.failures: list[str] = []
        self._url, self._stop = server.url, threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def seen(self, name: str) -> Callable[[], bool]:
        """Whether several answers came from this adapter since now."""
        since = len(self.adapters)
        return lambda: self.adapters[since:].count(name) >= 6 or bool(self.failures)

    def _ask(self, client: int) -> None:
        streamed = bool(client % 2)
        body = {
            "model": "redraft",
            "messages": [{"role": "user", "content": f"client {client}"}],
            "max_tokens": 24, "stream": streamed,
        }  # fmt: skip
        with httpx.Client(base_url=self._url, trust_env=False, timeout=120) as http:
            while not self._stop.is_set():
                found = http.post("/v1/chat/completions", json=body)
                if found.status_code != 200 or '"error"' in found.text:
                    self.failures.append(found.text)
                self.adapters.append(found.headers.get("x-redraft-adapter", ""))


def kill(server: Redraft, victim: psutil.Process) -> None:
    """Kill one of vLLM's processes, and wait until it is told that vLLM is away."""
    victim.kill()
    wait_until(lambda: status(server) == 503, 60)
    wait_until(lambda: "vLLM" in problems(server).get("engine", ""), 60)


def problems(server: Redraft) -> dict[str, str]:
    """What readiness lacks."""
    found: dict[str, str] = server.http.get("/readyz").json().get("problems", {})
    return found


def starts(server: Redraft) -> int:
    """How often vLLM was started."""
    return server.log.read_text().count("in vLLM; its log is")


def test_vllm_that_cannot_start_says_why(make_redraft: Make, tiny_model: Path) -> None:
    settings: dict[str, Any] = {**VLLM, "vllm_args": "--no-such-option"}
    server = make_redraft(model=tiny_model, vllm_port=free_port(), **settings)
    said = server.command("up", "--no-page", "--no-scheduler", seconds=400)
    assert said.returncode == 1 and "no-such-option" in said.stderr and "vllm.log" in said.stderr


def test_what_vllm_found_in_its_cache_is_told(vllm_server: Redraft) -> None:
    said = [{"role": "user", "content": "How long is the warranty? " * 14}]
    body = {"model": "redraft", "messages": said, "max_tokens": 4, "n": 2}
    cached = []
    for _ in range(2):
        usage = vllm_server.http.post("/v1/chat/completions", json=body).json()["usage"]
        cached.append(usage["prompt_tokens_details"]["cached_tokens"])
        assert usage["prompt_tokens"] > cached[-1]
    assert cached[1] > 100 > cached[0]


def test_a_swap_under_load_and_a_kill(vllm_server: Redraft, tiny_adapter: Path) -> None:
    server = vllm_server
    assert starts(server) == 1 and "vLLM is ready after" in server.log.read_text()
    register(server, tiny_adapter, FIRST, 1.0)
    register(server, tiny_adapter, SECOND, -1.0)
    base = answer(server)

    with Load(server) as load:
        wait_until(load.seen("base"), 60)
        for name in (FIRST, SECOND, FIRST):
            promote(server, name)
            wait_until(load.seen(name), 60)
    assert load.failures == []
    assert set(load.adapters) == {"base", FIRST, SECOND}

    before = answer(server)
    assert before[0] == FIRST and before[1] != base[1]
    kill(server, processes(server)[-1])  # its core
    wait_until(lambda: status(server) == 200, 600, lambda: server.log.read_text()[-3000:])
    assert answer(server) == before
    assert problems(server) == {}


def test_a_kill_of_its_server_starts_it_again_and_one_interrupt_ends_it(
    vllm_server: Redraft,
) -> None:
    """The last of all: it leaves no vLLM behind."""
    started = starts(vllm_server)
    kill(vllm_server, processes(vllm_server)[0])
    wait_until(lambda: starts(vllm_server) > started, 120)
    wait_until(lambda: bool(processes(vllm_server)), 120)
    running = processes(vllm_server)
    vllm_server.stop()
    assert not any(process.is_running() for process in running)
