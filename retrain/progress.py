"""Where a run is: told by the steps, written to the run's row by a thread of its own."""

import logging
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from feedback import runs
from feedback.database import Database
from feedback.errors import Conflict, RecordError

log = logging.getLogger("redraft")

EVERY = 2.0  # seconds; the record believes a silent run dead after 120


class LostRun(Exception):
    """The run has ended or another process took it up: this one must stop and change nothing."""


class Tracker:
    """Use as a context: inside it the run has a heartbeat.

    `step` and `tick` raise LostRun when the run is no longer ours.
    """

    def __init__(self, database: Database, run_id: str, every: float = EVERY) -> None:
        self._database, self._run_id, self._every = database, run_id, every
        self._step = ""
        self._progress: dict[str, Any] = {}
        self._began, self._from = time.monotonic(), 0
        self._lost: Conflict | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, daemon=True)

    def __enter__(self) -> "Tracker":
        self._beat()  # at once: a starter waits for this process to take the run over
        self.check()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def step(self, name: str) -> None:
        """A new step begins."""
        log.info("Step %s", name)
        self._step, self._progress = name, {}
        self._beat()
        self.check()

    def froze(self, last_feedback_seq: int) -> None:
        """The snapshot is frozen up to this event."""
        with self._database.session() as session:
            runs.heartbeat(
                session,
                self._run_id,
                self._step,
                self._progress,
                last_feedback_seq=last_feedback_seq,
            )

    def tick(
        self, step: int, total: int, metrics: Mapping[str, float] | None = None, part: str = ""
    ) -> None:
        """`step` of `total` pieces of the current step are done; called as often as you like.

        `part` names what the pieces belong to, where a step has several kinds of work.
        """
        self.check()
        before = self._progress
        if (total, part) != (before.get("total"), before.get("part", "")) or step < before["step"]:
            self._began = time.monotonic()  # other work: a second stage, the guards
            self._from = step
        passed = time.monotonic() - self._began
        found: dict[str, Any] = {"step": step, "total": total, **({"part": part} if part else {})}
        if total and step:
            found["percent"] = round(100 * step / total, 1)
        if step > self._from:
            found["eta_s"] = round(passed * (total - step) / (step - self._from))
        if metrics and "loss" in metrics:
            found["loss"] = round(float(metrics["loss"]), 4)
        self._progress = found

    def check(self) -> None:
        """Go on only while the run is ours; called between two pieces of work."""
        if self._lost:
            raise LostRun(str(self._lost)) from self._lost

    def _beat_on(self) -> None:
        while not self._ended.wait(self._every):
            self._beat()

    def _beat(self) -> None:
        try:
            with self._database.session() as session:
                runs.heartbeat(session, self._run_id, self._step, self._progress)
        except Conflict as error:
            self._lost = error
        except RecordError as error:
            log.warning(
                "No heartbeat: %s", error
            )  # a database that is away for a minute comes back
