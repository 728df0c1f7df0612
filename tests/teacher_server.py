"""A server that plays a teacher: what it says is scripted, and it keeps the bill."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass
class Play:
    """One answer. A `status` other than 200 is an error with `text`."""

    text: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    finish: str | None = "stop"
    seconds: float = 0.0  # before each piece
    breaks_after: int | None = None  # pieces, and the connection is gone
    refusal: bool = False
    streams: bool = True
    usage: bool = True
    raw: bytes = b""  # in place of events


Script = Callable[[Body, int], Play]  # (request, how-manieth of the same) → what is played


def tokens(text: str) -> int:
    return len(text.split())


class TeacherServer:
    """Counts words as tokens, 7 for the template, and bills what it answers, also in part."""

    def __init__(self, script: Script) -> None:
        self.asked: list[Body] = []
        self.keys: list[str] = []
        self.login: str | None = None
        self.billed = {"in": 0, "out": 0}
        self.times: list[float] = []
        self.at_once = self.most_at_once = 0
        self._seen: dict[str, int] = {}
        self._lock, server = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(200, {"data": [{"id": "sage"}]}, {})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                play = server._take(body, self.headers)
                try:
                    self._play(body, play)
                except OSError:  # the client is gone; what was made of it is billed
                    pass
                finally:
                    with server._lock:
                        server.at_once -= 1

            def _play(self, body: Body, play: Play) -> None:
                if play.status != 200:
                    self._send(play.status, {"error": {"message": play.text}}, play.headers)
                    return
                words = play.text.split(" ")[: body.get("max_tokens", 10**6)]
                told_in = 7 + sum(tokens(m["content"]) for m in body["messages"])
                server._bill(told_in, tokens(" ".join(words)))
                usage = {"prompt_tokens": told_in, "completion_tokens": tokens(" ".join(words))}
                if not play.streams:
                    said = {"message": {"content": " ".join(words)}, "finish_reason": play.finish}
                    self._send(200, {"choices": [said], "usage": usage}, {})
                    return
                self._stream(play, words, usage)

            def _stream(self, play: Play, words: list[str], usage: Body) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                if play.raw:
                    self.wfile.write(play.raw)
                    return
                cut = len(words) < len(play.text.split(" "))
                for number, word in enumerate(words):
                    if number == play.breaks_after:
                        return
                    time.sleep(play.seconds)
                    name = "refusal" if play.refusal else "content"
                    self._event({"delta": {name: word if number == 0 else f" {word}"}})
                if play.breaks_after is not None:
                    return
                self._event({"delta": {}, "finish_reason": "length" if cut else play.finish})
                if play.usage:
                    self._write({"choices": [], "usage": usage})
                self.wfile.write(b"data: [DONE]\n\n")

            def _event(self, choice: Body) -> None:
                self._write({"choices": [{"index": 0, **choice}]})

            def _write(self, event: Body) -> None:
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                self.wfile.flush()

            def _send(self, status: int, body: Body, headers: dict[str, str]) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._script = script
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    def __enter__(self) -> "TeacherServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def total(self) -> int:
        return self.billed["in"] + self.billed["out"]

    def _take(self, body: Body, headers: Any) -> Play:
        with self._lock:
            self.asked.append(body)
            self.times.append(time.monotonic())
            self.keys.append(headers["idempotency-key"])
            self.login = headers["authorization"]
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            key = json.dumps(body["messages"])
            self._seen[key] = count = self._seen.get(key, 0) + 1
        return self._script(body, count)

    def _bill(self, tokens_in: int, tokens_out: int) -> None:
        with self._lock:
            self.billed["in"] += tokens_in
            self.billed["out"] += tokens_out
