"""A client that hangs up, told at once to the engine that writes for it, not at its next token."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Line:
    """A client's connection: whether it was cut, and who wants to be told."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._cut = False
        self._listeners: list[Callable[[], None]] = []

    def cut(self) -> None:
        """Tell every listener, now."""
        with self._changing:
            self._cut, told = True, list(self._listeners)
        for tell in told:
            tell()

    @contextmanager
    def heard_by(self, tell: Callable[[], None]) -> Iterator[None]:
        """Have `tell` called when the line is cut, or at once when it is. It must not block."""
        with self._changing:
            self._listeners.append(tell)
            late = self._cut
        if late:
            tell()
        try:
            yield
        finally:
            with self._changing:
                self._listeners.remove(tell)


LINE: ContextVar[Line | None] = ContextVar("line", default=None)
"""The line of the request that this thread answers; None where nobody can hang up."""


@contextmanager
def on_hangup(tell: Callable[[], None]) -> Iterator[None]:
    """Have `tell` called when the client of this thread's request hangs up. It must not block."""
    if (line := LINE.get()) is None:
        yield
        return
    with line.heard_by(tell):
        yield
