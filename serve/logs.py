"""Logging of a process: one line an event on standard error, for people or as JSON."""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
requests = logging.getLogger("redraft.requests")


class JsonLines(logging.Formatter):
    """One JSON object a line, with the id of the request in which the event came about."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "message": record.getMessage(),
        }
        if request_id := REQUEST_ID.get():
            line["request_id"] = request_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line | getattr(record, "fields", {}), ensure_ascii=False, default=str)


def log_to_stderr(process: str, form: str = "text", level: int = logging.INFO) -> None:
    """Send the log of Redraft to standard error, each line naming the process.

    `form` is "text", or "json" with a line for every request too.
    """
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter(f"%(asctime)s {process} %(message)s", "%H:%M:%S")
    handler.setFormatter(JsonLines(process) if form == "json" else text)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("redraft").setLevel(level)
    requests.setLevel(level if form == "json" else logging.WARNING)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
