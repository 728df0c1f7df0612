"""How much is still drawn for a client that closed, by engine, through the real API.

    python bench/cancel.py [--home ~/.redraft] [--rows echo transformers …] [--vllm http://…:8001]

Each row is a server in a process of its own: a client reads tokens of a stream and closes its
socket, and what is drawn from that moment on is counted where it is drawn: in the sampler of the
embedded engines, in engine echo (which draws words), by vLLM itself. Printed per row over 10
closes: tokens drawn after the close (median, most), and after how long the answer's slot was free.
Behind engine `openai` stands another server of ours with engine echo; `vllm` is one that runs.
"""

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

CLOSES, READ = 10, 8
SETTLED = 0.5  # seconds without a token, after which none is expected any more
ROWS = ("echo", "openai", "transformers", "openvino")
QUESTION = "Tell me a long story about dragons."
SLOW = "/slow 0.03 " + "word " * 400  # what engine echo writes as slowly as a model
Drawn = Callable[[], float]


def serve_here(home: Path, **settings: Any) -> int:
    """The port of an API of our own, in a thread, on waitress as `redraft up` runs it."""
    from feedback.database import open_database
    from feedback.migrate import migrate
    from serve.api.server import serve
    from serve.settings import load_settings

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    loaded = load_settings(home=home, port=port, rewrite="off", schedule="", **settings)
    loaded.home.mkdir(parents=True, exist_ok=True)
    database = open_database(loaded.database_url)
    migrate(database)
    database.close()
    threading.Thread(target=serve, args=(loaded,), daemon=True).start()
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).raise_for_status()
            return port
        except httpx.TransportError:
            time.sleep(0.1)


def counted_in_samplers() -> Drawn:
    """Tokens that the embedded engines draw."""
    from serve.engines.sampler import Sampler

    draw, counts = Sampler.draw, [0]

    def counting(self: Any, logits: Any) -> Any:
        drawn = draw(self, logits)
        counts[0] += sum(len(chunk.token_ids) for chunk in drawn[0])
        return drawn

    Sampler.draw = counting  # type: ignore[method-assign]
    return lambda: counts[0]


def counted_in_echo() -> Drawn:
    """Words that engine echo writes."""
    from serve.engines import echo

    make, counts = echo._chunk, [0]

    def counting(*given: Any) -> Any:
        counts[0] += 1
        return make(*given)

    echo._chunk = counting  # type: ignore[assignment]
    return lambda: counts[0]


def counted_by_vllm(url: str) -> Drawn:
    """What vLLM says that it has drawn, for everybody."""

    def drawn() -> float:
        told = httpx.get(f"{url}/metrics", trust_env=False).text.splitlines()
        return sum(
            float(line.split()[-1])
            for line in told
            if line.startswith("vllm:generation_tokens_total")
        )

    return drawn


def close_early(port: int, question: str, drawn: Drawn) -> tuple[float, float]:
    """Tokens that were drawn after a close behind `READ` events, and seconds to the free slot."""
    from serve.metrics import RUNNING

    said = [{"role": "user", "content": question}]
    body = {"model": "redraft", "messages": said, "stream": True, "max_tokens": 400}
    data = json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: "
            b"application/json\r\nContent-Length: %d\r\n\r\n" % len(data) + data
        )
        seen = b""
        while seen.count(b"data: ") < READ:
            received = client.recv(65536)
            if not received or b"HTTP/1.1 200" not in (seen + received)[:40]:
                raise SystemExit(f"The answer broke off: {seen + received!r}")
            seen += received
        before, closed = drawn(), time.perf_counter()
    while RUNNING._value.get():
        time.sleep(0.001)
    free = time.perf_counter() - closed
    last = drawn()
    settled = time.perf_counter() + SETTLED
    while time.perf_counter() < settled:
        time.sleep(0.05)
        if (now := drawn()) != last:
            last, settled = now, time.perf_counter() + SETTLED
    return last - before, free


def measure(name: str, home: Path, vllm: str) -> dict[str, Any]:
    question, told = QUESTION, {"engine": name, "model": "smollm2-135m"}
    with tempfile.TemporaryDirectory() as work:
        if name in ("echo", "openai"):
            question, drawn, place = SLOW, counted_in_echo(), Path(work)
            if name == "openai":
                upstream = serve_here(Path(work) / "upstream", engine="echo")
                told["engine_url"] = f"http://127.0.0.1:{upstream}/v1"
        else:
            drawn = counted_by_vllm(vllm) if name == "vllm" else counted_in_samplers()
            place = home
            if name == "vllm":
                told["engine_url"] = f"{vllm}/v1"
        told["database_url"] = f"sqlite:///{work}/redraft.db"
        port = serve_here(place, **told)
        found = [close_early(port, question, drawn) for _ in range(CLOSES + 1)][1:]
    tokens, seconds = zip(*found, strict=True)
    return {
        "median": statistics.median(tokens), "most": max(tokens),
        "free": statistics.median(seconds), "free_most": max(seconds),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, default=Path("~/.redraft").expanduser())
    parser.add_argument("--rows", nargs="*", default=ROWS, choices=ROWS)
    parser.add_argument("--vllm", default="", help="of a vLLM that runs, without /v1")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.row:
        print(json.dumps(measure(given.row, given.home, given.vllm)))
        return
    print(f"{'tokens after a close':22}median  most   slot free after (median, most)")
    for name in [*given.rows, *(["vllm"] if given.vllm else [])]:
        command = [sys.executable, __file__, "--row", name, "--home", str(given.home)]
        command += ["--vllm", given.vllm]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        row = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{name:22}{row['median']:6.1f}{row['most']:6.0f}   {1e3 * row['free']:.0f} ms, "
            f"{1e3 * row['free_most']:.0f} ms",
            flush=True,
        )


if __name__ == "__main__":
    main()
