"""Logging of a process: one line an event on standard error."""

import logging
import sys


def log_to_stderr(process: str, level: int = logging.INFO) -> None:
    """Send the log of Redraft to standard error, each line naming the process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s {process} %(message)s", "%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("redraft").setLevel(level)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
