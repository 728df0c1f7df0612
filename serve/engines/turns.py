"""A lock whose waiters are served in the order they came."""

import threading
from collections import deque
from types import TracebackType


class FairLock:
    """Like `threading.Lock`, first come first served: one stream's next token never overtakes
    another stream that already waits, so all streams advance together."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._taken = False

    def __enter__(self) -> None:
        with self._mutex:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        mine.wait()  # the lock is handed over, so `_taken` stays true

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False
