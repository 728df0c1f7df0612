"""Child processes of `redraft up`: started together, watched, stopped together."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

log = logging.getLogger("redraft")

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
STOP_SECONDS = 15.0


class ProcessError(Exception):
    """A process cannot start; the message says what, why and what next."""


@dataclass
class Child:
    """One process and how often it had to be restarted."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    wait: float = FIRST_WAIT
    next_start: float = 0.0
    started: float = 0.0

    def start(self) -> None:
        # A session of its own: Ctrl-C reaches the supervisor alone, which stops the children.
        self.process = subprocess.Popen(self.command, start_new_session=True)  # noqa: S603
        self.started = time.monotonic()


class Stop:
    """Whether a stop was asked for. A signal's handler may set it: no lock is taken, which the
    interrupted code might hold."""

    asked = False

    def ask(self, *_: object) -> None:
        self.asked = True

    def wait(self, seconds: float) -> bool:
        """Sleep, unless a stop was asked for; returns whether it was."""
        if not self.asked:
            time.sleep(seconds)
        return self.asked


@dataclass
class Supervisor:
    """Keeps children alive: one that dies is started again after 1, 2, 4 … 30 seconds."""

    children: list[Child] = field(default_factory=list)
    stopping: Stop = field(default_factory=Stop)

    def add(self, name: str, module: str, *arguments: str) -> Child:
        child = Child(name, [sys.executable, "-m", module, *arguments])
        child.start()
        self.children.append(child)
        return child

    def wait_until(self, ready: Callable[[], bool], child: Child) -> bool:
        """Wait until `ready()`; False when `child` ended or a stop was asked for before."""
        while not self.stopping.wait(0.1):
            if ready():
                return True
            if child.process is None or child.process.poll() is not None:
                return False
        return False

    def watch(self) -> None:
        """Restart what dies, until `stopping` is set."""
        while not self.stopping.wait(0.2):
            for child in self.children:
                self._revive(child)

    def _revive(self, child: Child) -> None:
        now = time.monotonic()
        if child.process is not None and (code := child.process.poll()) is not None:
            if now - child.started > 60:
                child.wait = FIRST_WAIT
            log.warning(
                "%s ended (code %s); starting it again in %.0f s", child.name, code, child.wait
            )
            child.process, child.next_start = None, now + child.wait
            child.wait = min(child.wait * 2, LONGEST_WAIT)
        elif child.process is None and now >= child.next_start:
            child.start()

    def stop(self) -> None:
        """End the children, the newest first; kill what does not end in time."""
        self.stopping.ask()
        for child in reversed(self.children):
            if child.process is not None and child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for child in reversed(self.children):
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("%s did not stop in %.0f s and is killed", child.name, STOP_SECONDS)
                child.process.kill()
                child.process.wait()


def end_with_parent() -> None:
    """End this process when the one that started it is gone, so that no orphan keeps a port."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
