"""The teacher: a model behind any OpenAI-compatible endpoint, asked within a budget.

What was paid for is in `teacher.db` before anybody sees it, by a hash of the request, and is never
asked again. Before a request goes out, the most that it can cost is set aside in there, so neither
many requests at once nor a kill can pass the budget: what was under way when the process died is
charged as if it had been answered in full. The request's hash goes along as `Idempotency-Key`, by
which servers that know it answer a second time without charge.
"""

import hashlib
import json
import random
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from retrain.corpus.stage import CorpusError
from retrain.corpus.teacher.account import Account, Bound
from retrain.corpus.teacher.pace import Pace
from retrain.corpus.teacher.wire import Away, Crowded, Declined, Reply, Unfit, Wire
from serve.settings import Settings

ATTEMPTS = 6
WAITS = 40  # as often as it may say that it has too much to do
BACKOFF = 1.0  # seconds, doubled with each attempt, and up to as much again
LONGEST_WAIT = 120.0
AWAY = 3  # requests in a row that got no answer at all: the server is away
OVERHEAD, PER_MESSAGE = 64, 16  # tokens that a chat template adds, at most

Message = Mapping[str, str]


class Stopped(CorpusError):
    """The work cannot go on now; what is done is kept, and the same command goes on later."""


class Unanswered(Exception):
    """This one request got no usable answer; the others may."""


@dataclass(frozen=True)
class Request:
    """What is asked; `schema` is what the answer is to fit, `draw` tells one try from another."""

    messages: Sequence[Message]
    schema: Mapping[str, Any] | None = None
    max_tokens: int = 1024
    temperature: float = 0.7
    draw: int = 0

    @property
    def bound(self) -> Bound:
        """The most tokens that it can take: no tokenizer has more tokens than bytes."""
        texts = [message["content"] for message in self.messages]
        size = sum(len(text.encode()) for text in texts) + len(json.dumps(self.schema or ""))
        return Bound(size + OVERHEAD + PER_MESSAGE * len(texts), self.max_tokens)

    @property
    def likely(self) -> Bound:
        """About what it takes: four bytes a token, and half of the room for the answer."""
        return Bound(self.bound.tokens_in // 4, self.max_tokens // 2)

    def hash_for(self, model: str) -> str:
        """The name of the request, the same in every process."""
        told = json.dumps([model, asdict(self)], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(told.encode()).hexdigest()


@dataclass
class Tally:
    """What happened to requests so far."""

    counts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1


class Teacher:
    """Safe to be asked from many threads."""

    def __init__(self, settings: Settings, account: Account) -> None:
        if not settings.teacher_url or not settings.teacher_model:
            raise CorpusError(
                "There is no teacher. Set REDRAFT_TEACHER_URL to an OpenAI-compatible server, with "
                "its /v1, REDRAFT_TEACHER_MODEL to a model of it, and REDRAFT_TEACHER_API_KEY."
            )
        self.model, self.account, self.tally = settings.teacher_model, account, Tally()
        self._pace = Pace(settings.teacher_requests_per_minute, settings.teacher_tokens_per_minute)
        self._away, self._closed = 0, threading.Event()
        try:
            self._wire = Wire(
                settings.teacher_url,
                settings.teacher_api_key,
                settings.teacher_model,
                settings.teacher_seconds,
            )
        except Declined as error:
            raise CorpusError(str(error)) from error

    def ask(self, request: Request) -> Reply:
        """The answer, from the cache where it was paid for before.

        Raises Unanswered for this request, Stopped (also OverBudget) for all.
        """
        name = request.hash_for(self.model)
        with self.account.alone(name):
            known = self.account.known(name)
            if known is not None:
                self.tally.add("from cache")
                return known
            return self._answered(name, request)

    def close(self) -> None:
        """Let no further request out, and those that wait end with Stopped."""
        self._closed.set()

    def _answered(self, name: str, request: Request) -> Reply:
        attempts = waits = 0
        while attempts < ATTEMPTS and waits < WAITS:
            self._pace.wait(request.likely.total, self._closed)
            if self._closed.is_set():
                raise Stopped("Stopped. The same command goes on.")
            self.account.reserve(name, request.bound)
            try:
                reply = self._wire.ask(name, request)
            except Unfit:  # a parameter that this server knows in another form: at once
                self.account.release(name)
            except Crowded as error:
                self.account.release(name)
                self.tally.add("told to wait (429)")
                self._pace.pause(_backoff(waits) if error.seconds is None else error.seconds)
                waits += 1
            except Declined as error:
                self.account.release(name)
                raise self._ended(error) from error
            except Away as error:
                self._lost(name, error)
                self._closed.wait(_backoff(attempts))
                attempts += 1
            except BaseException:
                self.account.charge(name, request.bound, "broken off")
                raise
            else:
                self.account.keep(name, request.bound, reply)
                self.tally.add("answered")
                self._away = 0
                return reply
        return self._given_up()

    def _lost(self, name: str, error: Away) -> None:
        """What may have been answered in part is charged in full: nobody knows what it cost."""
        if error.charged:
            self.account.charge(name, self.account.reserved(name), str(error))
        else:
            self.account.release(name)
        self.tally.add(error.kind)

    def _given_up(self) -> Reply:
        self._away += 1
        self.tally.add("given up")
        if self._away >= AWAY:
            self.close()
            raise Stopped(
                f"The teacher at {self._wire.url} gave no answer to {AWAY} requests in a row, "
                f"after {ATTEMPTS} attempts at each. The same command goes on when it does."
            )
        raise Unanswered(f"no answer in {ATTEMPTS} attempts")

    def _ended(self, error: Declined) -> Exception:
        if not error.fatal:
            self.tally.add("refused by the server")
            return Unanswered(str(error))
        self.close()
        return Stopped(str(error))


def _backoff(attempt: int) -> float:
    seconds: float = BACKOFF * 2**attempt * random.uniform(1, 2)  # noqa: S311
    return min(LONGEST_WAIT, seconds)
