"""Responses that are written while nobody waits: queued, followed, cancelled."""

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from typing import Any

from flask import current_app

from serve.api.responses.answer import NOTHING, Answer
from serve.engines.base import BEAT
from serve.turn.turn import Chat

log = logging.getLogger("redraft")

Json = dict[str, Any]
AT_ONCE = 16  # written at the same time; the others are queued
REMEMBERED = 64  # whose events are kept after their end
CANCEL_SECONDS = 10.0  # longest wait for the token that an engine has begun


class Job:
    """One response and all of its events, which come when it is run."""

    def __init__(self, answer: Answer, ended: Callable[[], None]) -> None:
        self.answer, self._ended = answer, ended
        self._events: list[Json] = []
        self._news = threading.Condition()
        self._stop, self.done = threading.Event(), threading.Event()

    @property
    def resource(self) -> Json:
        """The response object as it is now."""
        resource = self.answer.resource
        if self._stop.is_set() and not self.done.is_set():
            resource["status"] = "cancelled"
        return resource

    def run(self, chat: Chat) -> None:
        """Write the answer until it is cancelled."""
        try:
            with closing(chat.run(self.answer.turn)) as pieces:
                with closing(self.answer.events(pieces)) as events:
                    for event in events:
                        if event:
                            self._tell(event)
                        if self._stop.is_set():
                            break
                next(pieces, None)  # one that had not begun does, so that its drafts are recorded
        except Exception as error:  # it could not be kept; there is nobody to tell but the log
            log.error("Response %s: %s", self.answer.id, error, exc_info=error)
        finally:
            self._ended()
            with self._news:
                self.done.set()
                self._news.notify_all()

    def _tell(self, event: Json) -> None:
        with self._news:
            self._events.append(event)
            self._news.notify_all()

    def stop(self) -> None:
        """Have it end within a token, also when it is only run afterwards."""
        self._stop.set()

    def follow(self, after: int = -1) -> Generator[Json]:
        """The events behind number `after`, as they come, until the last; NOTHING in between."""
        at = after + 1
        while True:
            with self._news:
                some = self._news.wait_for(partial(self._is_behind, at), BEAT)
                new = self._events[at:]
            if not some:
                yield NOTHING
            elif not new:
                return
            yield from new
            at += len(new)

    def _is_behind(self, at: int) -> bool:
        """Whether there is an event of that number, or none to wait for."""
        return len(self._events) > at or self.done.is_set()


class Jobs:
    """The background responses of this process: those under way, and the newest that ended."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._queue = deque[tuple[Job, Chat]]()
        self._writers = 0
        self._lock = threading.Lock()

    def start(self, chat: Chat, answer: Answer, ended: Callable[[], None]) -> Job:
        """Put the answer into the queue; `ended` is called once, when it is no more under way."""
        job = Job(answer, ended)
        with self._lock:
            self._jobs[answer.id] = job
            done = [id for id, known in self._jobs.items() if known.done.is_set()]
            for id in done[:-REMEMBERED]:
                del self._jobs[id]
            self._queue.append((job, chat))
            if self._writers < AT_ONCE:
                threading.Thread(target=self._write, name=answer.id, daemon=True).start()
                self._writers += 1
        return job

    def _write(self) -> None:
        """Run what is queued, one after the other, until there is no more."""
        while queued := self._next():
            job, chat = queued
            job.run(chat)

    def _next(self) -> tuple[Job, Chat] | None:
        with self._lock:
            if self._queue:
                return self._queue.popleft()
            self._writers -= 1
            return None

    def find(self, response_id: str) -> Job | None:
        """The job of the response, None when it is not, or no longer, known here."""
        return self._jobs.get(response_id)

    def cancel(self, job: Job) -> Json:
        """Stop the job; returns what has become of the response."""
        job.stop()
        with self._lock:
            queued = [one for one in self._queue if one[0] is job]
            for one in queued:
                self._queue.remove(one)
        for _, chat in queued:  # it ends at once, and waits for nobody's place
            job.run(chat)
        job.done.wait(CANCEL_SECONDS)
        return job.resource

    def forget(self, response_id: str) -> None:
        """Stop the job, if there is one, and drop its events."""
        with self._lock:
            job = self._jobs.pop(response_id, None)
        if job is not None:
            self.cancel(job)


def jobs() -> Jobs:
    """The application's jobs."""
    found: Jobs = current_app.extensions["redraft-jobs"]
    return found
