"""What the server in the middle costs: an engine behind it, called through it and directly.

    python bench/overhead.py [--streams 64] [--tokens 128] [--rounds 3] [--litellm BIN/litellm]

The engine is a process of its own that speaks OpenAI's chat API and emits --rate tokens a second a
stream, so what is measured is the way and no model. Redraft runs as in service, engine `openai`,
every answer recorded durably before it counts as sent. --litellm names the program of an installed
`litellm[proxy]`, the peer, in an environment of its own (it wants an older openai client). The
streams begin spread over one second, each asks --rounds times. Printed for each way: tokens a
second in all, as a share of the direct way; the time to the first token, p50 and p99, and what is
added to the direct one; CPU seconds a request and peak memory a stream of the process in the
middle; errors; and how many cores everything else on this machine kept busy meanwhile, which tells
what the times are worth (CPU seconds suffer less). The last row is Redraft with four times as many
streams; the last line, how much more CPU a request costs there: 1.0 is a cost that grows in step
with the streams, also where the cores of this machine are too few to keep up with them.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).parents[1]
MODEL = "steady"
LINE = b"data: %b\n\n"


# The engine


def piece(text: str, end: str | None) -> bytes:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": end}
    head = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 0, "model": MODEL}
    return LINE % json.dumps({**head, "choices": [choice]}).encode()


# Each another: LiteLLM takes a hundred chunks that are the same for a broken engine.
TOKENS, END = [piece(f"token{number} ", None) for number in range(1000)], piece("", "stop")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
MODELS = json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model"}]}).encode()


async def emit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rate: float) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if head.startswith(b"GET"):
        kind = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
        writer.write(kind + b"Content-Length: %d\r\n\r\n%b" % (len(MODELS), MODELS))
    else:
        lengths = [row for row in head.lower().split(b"\r\n") if row.startswith(b"content-length:")]
        body = json.loads(await reader.readexactly(int(lengths[0].split(b":")[1])))
        writer.write(HEAD)
        began = time.perf_counter()
        for number in range(body.get("max_tokens") or body["max_completion_tokens"]):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            writer.write(TOKENS[number % len(TOKENS)])
        writer.write(END + LINE % b"[DONE]")
    await writer.drain()
    writer.close()


async def serve_engine(port: int, rate: float) -> None:
    server = await asyncio.start_server(
        lambda reader, writer: emit(reader, writer, rate), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


# The clients


@dataclass
class Seen:
    """What the clients of one way saw."""

    first: list[float] = field(default_factory=list)  # seconds
    tokens: int = 0
    errors: int = 0
    seconds: float = 0.0
    cpu: float = 0.0  # seconds a request, of the process in the middle

    @property
    def speed(self) -> float:
        """Tokens a second of all streams."""
        return self.tokens / self.seconds

    def share(self, of: float) -> float:
        return sorted(self.first)[min(len(self.first) - 1, int(of * len(self.first)))]


async def ask(port: int, tokens: int, seen: Seen) -> None:
    """One streamed answer, read with as little work as can be: the client shares the machine."""
    body = json.dumps(
        {
            "model": MODEL,
            "stream": True,
            "max_tokens": tokens,
            "messages": [{"role": "user", "content": f"Go on {time.perf_counter_ns()}"}],
        }
    ).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
        f"Authorization: Bearer any\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    began, got, done = time.perf_counter(), 0, False
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(head.encode() + body)
        async for row in reader:
            if b'"token' in row:
                if not got:
                    seen.first.append(time.perf_counter() - began)
                got += row.count(b"token")
            done = done or b"[DONE]" in row
    finally:
        writer.close()
    seen.tokens += got
    seen.errors += got != tokens or not done


async def ask_again(port: int, tokens: int, rounds: int, wait: float, seen: Seen) -> None:
    await asyncio.sleep(wait)
    for _ in range(rounds):
        try:
            await ask(port, tokens, seen)
        except OSError:
            seen.errors += 1


async def crowd(port: int, streams: int, tokens: int, rounds: int) -> Seen:
    seen, began = Seen(), time.perf_counter()
    waits = [number / streams for number in range(streams)]
    await asyncio.gather(*(ask_again(port, tokens, rounds, wait, seen) for wait in waits))
    seen.seconds = time.perf_counter() - began
    return seen


# The process in the middle


class Watch:
    """CPU seconds and peak memory of a process and its children, from `start` to `stop`."""

    def __init__(self, pid: int) -> None:
        self._process, self._going = psutil.Process(pid), True
        self.cpu, self.idle, self.peak = -self._cpu(), self._memory(), 0
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._going = False
        self._thread.join()
        self.cpu += self._cpu()

    def _sample(self) -> None:
        while self._going:
            self.peak = max(self.peak, self._memory())
            time.sleep(0.25)

    def _all(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]

    def _cpu(self) -> float:
        return sum(sum(one.cpu_times()[:2]) for one in self._all())

    def _memory(self) -> int:
        return sum(one.memory_info().rss for one in self._all())


class Others:
    """Cores that all processes but this and its children keep busy, from now on."""

    def __init__(self) -> None:
        self._began, self._before = time.perf_counter(), self._seconds()

    def cores(self) -> float:
        return (self._seconds() - self._before) / (time.perf_counter() - self._began)

    @staticmethod
    def _seconds() -> float:
        all_cores, me = psutil.cpu_times(), psutil.Process()
        ours = sum(sum(one.cpu_times()[:2]) for one in [me, *me.children(recursive=True)])
        return float(all_cores.user + all_cores.nice + all_cores.system) - ours


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(command: list[str], url: str, **environment: str) -> Iterator[int]:
    """A process that answers at `url`; its pid."""
    with tempfile.NamedTemporaryFile("w+") as log:
        child = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, stdout=log, stderr=log
        )
        try:
            until = time.monotonic() + 240
            while not answers(url):
                if child.poll() is not None or time.monotonic() > until:
                    log.seek(0)
                    raise SystemExit(f"{command} did not start:\n{log.read()[-3000:]}")
                time.sleep(0.2)
            yield child.pid
        finally:
            child.terminate()
            child.wait(30)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


@contextmanager
def redraft(engine: int, streams: int) -> Iterator[tuple[int, int]]:
    """(port, pid) of Redraft's API in front of the engine."""
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        settings = {
            "HOME": home,
            "ENGINE": "openai",
            "ENGINE_URL": f"http://127.0.0.1:{engine}/v1",
            "MODEL": MODEL,
            "PORT": str(port),
            "THREADS": str(streams + 16),
        }
        environment = {f"REDRAFT_{name}": value for name, value in settings.items()}
        migrate = [sys.executable, "-m", "serve.cli", "db", "migrate"]
        subprocess.run(migrate, cwd=ROOT, env={**os.environ, **environment}, check=True)
        command = [sys.executable, "-m", "serve.api"]
        with process(command, f"http://127.0.0.1:{port}/readyz", **environment) as pid:
            yield port, pid


@contextmanager
def litellm(program: Path, engine: int) -> Iterator[tuple[int, int]]:
    """(port, pid) of LiteLLM's proxy in front of the engine."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        model = {"model": f"openai/{MODEL}", "api_base": f"http://127.0.0.1:{engine}/v1"}
        listed = [{"model_name": MODEL, "litellm_params": {**model, "api_key": "any"}}]
        config = Path(folder) / "config.json"  # JSON is YAML
        config.write_text(json.dumps({"model_list": listed}))
        command = [str(program), "--config", str(config), "--port", str(port)]
        url = f"http://127.0.0.1:{port}/health/liveliness"
        variables = {
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # the list of prices in the package will do
        }
        with process([*command, "--host", "127.0.0.1"], url, **variables) as pid:
            yield port, pid


# The table


def measured(
    name: str, port: int, given: argparse.Namespace, times: int, direct: Seen | None, pid: int = 0
) -> Seen:
    """Measure and print one way; `pid` is the process in the middle."""
    streams = given.streams * times
    asyncio.run(crowd(port, min(8, streams), 8, 1))  # warms up
    watch, others = Watch(pid) if pid else None, Others()
    seen = asyncio.run(crowd(port, streams, given.tokens, given.rounds))
    cost = "| – | – "
    if watch:
        watch.stop()
        memory = (watch.peak - watch.idle) / streams / 1e6
        seen.cpu = watch.cpu / (streams * given.rounds)
        cost = f"| {seen.cpu:.3f} | {memory:.2f} "
    share = seen.speed / (direct or seen).speed
    print(
        f"| {name} | {streams} | {seen.speed:.0f} | {share:.0%} "
        f"| {seen.share(0.5) * 1000:.0f} | {seen.share(0.99) * 1000:.0f} "
        f"| {added(seen, direct, 0.5)} | {added(seen, direct, 0.99)} {cost}| {seen.errors} "
        f"| {max(0.0, others.cores()):.1f} |",
        flush=True,
    )
    return seen


def added(seen: Seen, direct: Seen | None, of: float) -> str:
    """Milliseconds to the first token beyond the direct way's."""
    return f"{(seen.share(of) - direct.share(of)) * 1000:+.0f}" if direct else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=50.0, help="tokens a second of one stream")
    parser.add_argument("--litellm", type=Path, help="the program of an installed litellm[proxy]")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)  # the engine's own process
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve_engine(given.serve, given.rate))
        return
    port = free_port()
    command = [sys.executable, __file__, "--serve", str(port), "--rate", str(given.rate)]
    with process(command, f"http://127.0.0.1:{port}/v1/models"):
        table(port, given)


def table(engine: int, given: argparse.Namespace) -> None:
    print(
        "| way | streams | tokens/s | of direct | first token p50, ms | p99 | added p50 | p99 ",
        end="",
    )
    print("| CPU s a request | MB a stream | errors | others, cores |")
    print("|" + " --- |" * 12)
    direct = measured("direct", engine, given, 1, None)
    with redraft(engine, given.streams) as (port, pid):
        some = measured("Redraft", port, given, 1, direct, pid)
    if given.litellm:
        with litellm(given.litellm, engine) as (port, pid):
            measured("LiteLLM's proxy", port, given, 1, direct, pid)
    direct = measured("direct", engine, given, 4, None)
    with redraft(engine, given.streams * 4) as (port, pid):
        many = measured("Redraft", port, given, 4, direct, pid)
    print(
        f"\nCPU of a request: {some.cpu * 1e3:.1f} ms at {given.streams} streams, "
        f"{many.cpu * 1e3:.1f} ms at {given.streams * 4}: {many.cpu / some.cpu:.2f} times as much."
    )


if __name__ == "__main__":
    main()
