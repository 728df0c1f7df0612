"""Sign-ins that fail again and again: no more tries for a while."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable

from serve.api.errors import ApiError

MANY = 10  # times the failures of one name from one address: for a name, or an address, in all
MOST_KEYS = 10_000

Key = tuple[str, str]


class Lockout:
    """Counts failures by name and address, by name and by address, over the last minutes.

    A try counts as failed from its start until it succeeds, so that many at once win nothing.
    """

    def __init__(
        self, failures: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._failures, self._seconds, self._clock = failures, seconds, clock
        self._tries: dict[Key, deque[float]] = {}
        self._lock = threading.Lock()

    def attempt(self, name: str, address: str) -> Callable[[], None]:
        """Begin a try; call what comes back when it succeeded. Raises ApiError 429."""
        limits = {(name, address): 1, (name, ""): MANY, ("", address): MANY}
        now = self._clock()
        with self._lock:
            self._forget(now)
            for key, times in limits.items():
                tries = self._tries.setdefault(key, deque())
                if len(tries) >= self._failures * times:
                    raise _locked(self._seconds - (now - tries[0]))
            for key in limits:
                self._tries[key].append(now)

        def succeeded() -> None:
            with self._lock:
                self._tries.pop((name, address), None)
                for key in ((name, ""), ("", address)):
                    if now in self._tries.get(key, ()):
                        self._tries[key].remove(now)

        return succeeded

    def _forget(self, now: float) -> None:
        for key, tries in list(self._tries.items()):
            while tries and tries[0] <= now - self._seconds:
                tries.popleft()
            if not tries:
                del self._tries[key]
        while len(self._tries) > MOST_KEYS:  # the oldest first: memory has an end
            del self._tries[next(iter(self._tries))]


def _locked(seconds: float) -> ApiError:
    minutes = max(1, math.ceil(seconds / 60))
    return ApiError(
        429,
        f"Too many failed sign-ins. Try again in {minutes} minute{'s' * (minutes > 1)}.",
        kind="requests",
        code="sign_in_locked",
        headers={"Retry-After": str(max(1, math.ceil(seconds)))},
    )
