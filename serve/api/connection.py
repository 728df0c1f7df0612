"""waitress's connection, which tells of a hang-up at once and ends so that a refusal arrives.

A server that closes while its client still sends makes the kernel reset the connection, which may
take the answer away unread (RFC 9112, 9.6). So the answer is sent, that side alone is closed, and
what still comes is thrown away for a while.
"""

import json
import socket
import time
from typing import Any

from waitress.channel import HTTPChannel
from waitress.task import ErrorTask, WSGITask

from serve.api.errors import ApiError, error_body
from serve.engines.hangup import Line

PATIENCE = 10.0  # seconds for which a refused client may go on sending
MOST = 100_000_000  # bytes that are thrown away for it

TOLD = {
    413: "The body is far over the limit. Send less, or raise REDRAFT_MAX_BODY_MB.",
    431: "The headers are longer than the 32 KiB that are taken. Send fewer or shorter ones.",
    500: "The server failed. Its log has the details; try again.",
}


class Refusal(ErrorTask):  # type: ignore[misc]  # waitress has no types
    """What cannot be read as a request, refused as OpenAI words an error."""

    def execute(self) -> None:
        error = self.request.error
        status = int(error.code)
        message = TOLD.get(status, f"This cannot be read as a request: {error.body}.")
        body, _ = error_body(ApiError(status, message))
        data = json.dumps(body).encode()
        self.status = f"{status} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(data)
        self.channel.refused = status != 500  # and so has a rest that nobody reads
        self.write(data)


class Answer(WSGITask):  # type: ignore[misc]
    """A request whose application knows its client's line."""

    def get_environment(self) -> dict[str, Any]:
        return {**super().get_environment(), "redraft.line": self.channel.line}


class Connection(HTTPChannel):  # type: ignore[misc]
    """A channel that cuts its line when the client leaves, and lets a refused one read why."""

    task_class = Answer
    error_task_class = Refusal
    refused = False
    will_close: bool
    _until: float | None = None
    _thrown = 0

    def __init__(self, *given: Any, **named: Any) -> None:
        self.line = Line()
        super().__init__(*given, **named)

    def writable(self) -> bool:
        return self.will_close or (self._until is None and bool(super().writable()))

    def readable(self) -> bool:
        if self._until is None:
            return bool(super().readable())
        self.will_close = self.will_close or time.monotonic() > self._until
        return not self.will_close

    def handle_write(self) -> None:
        if not self.refused or self.will_close or not self.close_when_flushed:
            super().handle_write()
            return
        self._flush_exception(self._flush_some)
        if self.will_close or self.total_outbufs_len:
            return
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:  # it is gone already
            self.will_close = True
            return
        self._until = time.monotonic() + PATIENCE

    def handle_close(self) -> None:
        super().handle_close()
        self.line.cut()

    def handle_read(self) -> None:
        if self._until is None:
            super().handle_read()
            return
        try:
            thrown = len(self.recv(self.adj.recv_bytes))
        except OSError:
            thrown = 0
        self._thrown += thrown
        self.will_close = self.will_close or not thrown or self._thrown > MOST
