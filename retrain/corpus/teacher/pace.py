"""How fast requests go out: so many, and so many tokens, a minute, and none while told to wait."""

import threading
import time

MINUTE = 60.0


class Pace:
    """Spreads requests evenly; 0 is no limit."""

    def __init__(self, requests: int, tokens: int) -> None:
        self._a_request = MINUTE / requests if requests else 0.0
        self._a_token = MINUTE / tokens if tokens else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self, tokens: int, stop: threading.Event) -> None:
        """Until a request of that many tokens may go, or `stop` is set."""
        with self._lock:
            begin = max(time.monotonic(), self._next)
            self._next = begin + max(self._a_request, tokens * self._a_token)
        stop.wait(max(0.0, begin - time.monotonic()))

    def pause(self, seconds: float) -> None:
        """Let none go for that long."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)
