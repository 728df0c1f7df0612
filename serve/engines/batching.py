"""Decoding many requests together on one set of weights.

A batch takes a request in when its prompt is read, gives every row one token a step, and lets a row
go the moment it ends: no stream waits for another's end, and sixteen streams cost little more than
one. Rows of unequal length are padded at the left, in the cache as well.
"""

import logging
import queue
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from serve.engines.base import BEAT, QUIET, Chunk, EngineError
from serve.engines.hangup import on_hangup
from serve.engines.sampler import Sampler
from serve.engines.turns import FairLock

log = logging.getLogger("redraft")

MOST_ROWS = 64  # rows decoded together; further requests wait for a place

Outcome = list[Chunk] | BaseException | None


@dataclass(eq=False)
class Job:
    """One request: its prompt, its drafts' state, and where its chunks go (None at the end)."""

    weights: Any
    prompt_ids: list[int]
    sampler: Sampler
    drafts: int
    out: "queue.SimpleQueue[Outcome]" = field(default_factory=queue.SimpleQueue)
    tokens: list[int] = field(default_factory=list)  # the next input of each living row
    cancelled: bool = False
    wanted: int = 1  # of the prompt's logits, the last ones
    cached: int = 0  # tokens of the prompt that need not be read; not told yet

    def draw(self, logits: torch.Tensor) -> list[int]:
        """Draw from the rows' logits; returns the rows that go on."""
        chunks, alive, self.tokens = self.sampler.draw(logits)
        if self.cached:
            chunks[0], self.cached = chunks[0]._replace(cached=self.cached), 0
        self.out.put(chunks)
        if not alive:
            self.out.put(None)
        return alive

    def fail(self, error: BaseException) -> None:
        """Tell the request's own thread that its answer broke."""
        self.out.put(error)

    def chunks(self) -> Iterator[Chunk]:
        """What the request's own thread reads; closing it gives the rows up at the next step."""
        try:
            with on_hangup(self._hang_up):
                while (outcome := self._next()) is not None:
                    if isinstance(outcome, BaseException):
                        raise outcome
                    yield from outcome
        finally:
            self.cancelled = True

    def _hang_up(self) -> None:
        """Give the rows up at the next step, and wake the reader, who may want to say why."""
        self.cancelled = True
        self.out.put([QUIET])
        self.out.put(EngineError("The client closed the connection."))

    def _next(self) -> Outcome:
        try:
            return self.out.get(timeout=BEAT)
        except queue.Empty:  # its prompt waits for a place, or is long
            return [QUIET]


class Batch:
    """Rows of jobs on the same weights: one cache, one attention mask [rows, length]."""

    def __init__(self, job: Job, cache: DynamicCache, logits: torch.Tensor) -> None:
        self.weights, self.jobs, self.cache = job.weights, [job], cache
        read = len(job.prompt_ids) + getattr(job.weights, "virtual_tokens", 0)
        self.mask = torch.ones(1, read, dtype=torch.long, device=logits.device)
        if job.drafts > 1:
            cache.batch_repeat_interleave(job.drafts)
            self.mask = self.mask.repeat_interleave(job.drafts, 0)
            logits = logits.repeat_interleave(job.drafts, 0)
        self._keep(job.draw(logits))

    @property
    def rows(self) -> int:
        return int(self.mask.shape[0])

    @property
    def mergeable(self) -> bool:
        """Whether the cache is plain attention, which may be padded; windows and states are not."""
        return all(type(layer) is DynamicLayer for layer in self.cache.layers)

    def absorb(self, other: "Batch") -> None:
        """Take the rows of another batch on the same weights in."""
        length = max(self.mask.shape[1], other.mask.shape[1])
        mine, theirs = self._padded(length), other._padded(length)
        for layer, more in zip(mine, theirs, strict=True):
            layer.keys = torch.cat([layer.keys, more.keys])
            layer.values = torch.cat([layer.values, more.values])
        self.mask = torch.cat([self.mask, other.mask])
        self.jobs += other.jobs

    def step(self) -> None:
        """One token for every row."""
        self._drop_cancelled()
        if not self.jobs:
            return
        tokens = [[token] for job in self.jobs for token in job.tokens]
        self.mask = torch.nn.functional.pad(self.mask, (0, 1), value=1)
        out = self.weights(
            input_ids=torch.tensor(tokens, device=self.mask.device),
            attention_mask=self.mask,
            position_ids=self.mask.sum(1, keepdim=True) - 1,
            past_key_values=self.cache,
            use_cache=True,
        )
        alive, first = [], 0
        for job in self.jobs:
            last = first + len(job.tokens)
            logits = out.logits[first:last, -1].float()
            alive += [first + row for row in job.draw(logits)]
            first = last
        self._keep(alive)

    def fail(self, error: BaseException) -> None:
        """Tell every job that its answer broke."""
        for job in self.jobs:
            job.fail(error)
        self.jobs = []

    def _drop_cancelled(self) -> None:
        if any(job.cancelled for job in self.jobs):
            rows = [job for job in self.jobs for _ in job.tokens]
            for job in self.jobs:
                job.tokens = [] if job.cancelled else job.tokens
            self._keep([row for row, job in enumerate(rows) if not job.cancelled])

    def _keep(self, alive: list[int]) -> None:
        """Keep these rows alone, and no padding that all of them have."""
        self.jobs = [job for job in self.jobs if job.tokens]
        if len(alive) == self.rows or not alive:
            return
        index = torch.tensor(alive, device=self.mask.device)
        self.cache.batch_select_indices(index)
        self.mask = self.mask[index]
        if self.mergeable and (spare := int(self.mask.argmax(1).min())):
            self.mask = self.mask[:, spare:]
            for layer in self.cache.layers:
                layer.keys = layer.keys[..., spare:, :]
                layer.values = layer.values[..., spare:, :]

    def _padded(self, length: int) -> list[Any]:
        missing = length - self.mask.shape[1]
        self.mask = torch.nn.functional.pad(self.mask, (missing, 0))
        for layer in self.cache.layers:
            layer.keys = torch.nn.functional.pad(layer.keys, (0, 0, missing, 0))
            layer.values = torch.nn.functional.pad(layer.values, (0, 0, missing, 0))
        return list(self.cache.layers)


class Batches:
    """The batches of an engine, one for each set of weights that writes now."""

    def __init__(self, lock: FairLock) -> None:
        self._lock = lock
        self._batches: list[Batch] = []

    @property
    def rows(self) -> int:
        return sum(batch.rows for batch in self._batches)

    def admit(self, job: Job) -> None:
        """Read a job's prompt and put its rows beside the others."""
        try:
            with self._lock, torch.inference_mode():
                cache = DynamicCache(config=job.weights.config)
                ids = torch.tensor([job.prompt_ids], device=job.weights.device)
                out = job.weights(
                    input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1
                )
                batch = Batch(job, cache, out.logits[:, -1].float())
                if batch.jobs:
                    self._place(batch)
        except Exception as error:  # it belongs to the request, not to this thread
            job.fail(error)

    def step(self) -> None:
        """One token for every row of every batch."""
        for batch in self._batches:
            try:
                with self._lock, torch.inference_mode():
                    batch.step()
            except Exception as error:  # it belongs to the requests, not to this thread
                batch.fail(error)
        self._batches = [batch for batch in self._batches if batch.jobs]

    def fail(self, error: BaseException) -> None:
        """Tell every job that its answer broke."""
        for batch in self._batches:
            batch.fail(error)

    def _place(self, batch: Batch) -> None:
        for other in self._batches:
            if other.weights is batch.weights and other.jobs and other.mergeable:
                other.absorb(batch)
                return
        self._batches.append(batch)


class Together(Protocol):
    """What a decoder steps: jobs that advance together."""

    @property
    def rows(self) -> int:
        """Rows that are being written, or will be for the jobs taken in."""

    def admit(self, job: Any) -> None:
        """Take a job in; an error of the job's own goes to the job."""

    def step(self) -> None:
        """One token for every row."""

    def fail(self, error: BaseException) -> None:
        """Tell every job that its answer broke."""


class Decoder:
    """The thread that takes jobs in and steps them."""

    def __init__(self, batches: Together) -> None:
        self._batches = batches
        self._waiting: deque[Any] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, job: Any) -> None:
        """Hand a job over; what comes of it goes to the job."""
        with self._wake:
            self._waiting.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="decoder", daemon=True)
                self._thread.start()
            self._wake.notify()

    def close(self) -> None:
        """End the thread; answers that are being written break off with an error."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            job = self._next()
            if job is not None and not job.cancelled:
                self._batches.admit(job)
            try:
                self._batches.step()
            except Exception as defect:  # without this thread, every later request would hang
                log.exception("A step of the decoder broke.")
                self._batches.fail(defect)
        error = RuntimeError("The engine was closed.")
        self._batches.fail(error)
        for job in self._waiting:
            job.fail(error)

    def _next(self) -> Any:
        """The next job to admit, None while rows are full; waits when there is nothing to do."""
        with self._wake:
            while not (self._waiting or self._batches.rows or self._closed):
                self._wake.wait()
            full = self._batches.rows >= MOST_ROWS
            return self._waiting.popleft() if self._waiting and not full else None
