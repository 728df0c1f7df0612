"""A server for engines that are elsewhere, which answers, falls silent or breaks as it is told."""

import json
import select
import socket
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODELS = {"data": [{"id": "m", "max_model_len": 100}]}


class Server:
    """Answers GET with `models` and each POST with the next of `answers`: a status and a body, or
    a list of events, of which None breaks the connection and a number is a silence in seconds: one
    that comes first is before the head. `left` counts who closed the connection in a silence."""

    def __init__(self, *answers: Any, models: Any = MODELS, port: int = 0) -> None:
        self.asked: list[dict[str, Any]] = []
        self.key: str | None = None
        self.login: str | None = None  # at a proxy
        self.paths: list[str] = []
        self.stop = threading.Event()
        self.left = 0
        self.queue, server = list(answers), self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.paths.append(self.path)
                server.key = self.headers.get("authorization")
                self._whole(*(models if isinstance(models, tuple) else (200, models)))

            def do_POST(self) -> None:
                server.paths.append(self.path)
                server.login = self.headers.get("proxy-authorization")
                server.asked.append(
                    json.loads(self.rfile.read(int(self.headers["content-length"])))
                )
                answer = server.queue.pop(0)
                if isinstance(answer, tuple):
                    self._whole(*answer)
                else:
                    self._stream(answer)

            def _whole(self, status: int, body: Any) -> None:
                data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _stream(self, events: Sequence[Any]) -> None:
                if isinstance(events[0], float):
                    server._be_silent(self.connection, events[0])
                    events = events[1:]
                self.send_response(200)
                self.send_header("content-length", "100000")  # an early end is a broken one
                self.end_headers()
                for event in events:
                    if isinstance(event, float):
                        server._be_silent(self.connection, event)
                    elif event is not None:
                        data = event if isinstance(event, str) else json.dumps(event)
                        self.wfile.write(f"data: {data}\n\n".encode())

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._http.server_port
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    def __enter__(self) -> "Server":
        self._thread.start()
        return self

    def _be_silent(self, client: socket.socket, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.stop.is_set():
            if select.select([client], [], [], 0.05)[0] and not client.recv(1, socket.MSG_PEEK):
                self.left += 1
                return

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


def say(text: str, reason: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": reason}]}
