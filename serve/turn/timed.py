"""An engine's whole answer within a time budget, even while the engine hangs."""

import queue
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import cast

from serve.engines.base import Chunk, Engine, Sampling


class Unfinished(Exception):
    """The answer did not come to its end; `text` is what there is of it."""

    def __init__(self, why: str, text: str) -> None:
        super().__init__(why)
        self.text = text


@dataclass(frozen=True)
class TimeBudget:
    """So many seconds from when it was made."""

    seconds: float
    started: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        return max(0.0, self.started + self.seconds - time.monotonic())

    @property
    def spent(self) -> float:
        return round(time.monotonic() - self.started, 4)


def read_in_time(
    engine: Engine,
    prompt_ids: Sequence[int],
    sampling: Sampling,
    adapter: str | None,
    budget: TimeBudget,
) -> tuple[str, str | None]:
    """(text, finish reason). Raises Unfinished when the budget is spent, and what the engine does.

    The engine runs in a thread of its own: it is told to stop, never waited for.
    """
    chunks: queue.SimpleQueue[Chunk | Exception | None] = queue.SimpleQueue()
    stop = threading.Event()
    work = (engine, prompt_ids, sampling, adapter, chunks, stop)
    threading.Thread(target=_write, args=work, name="timed-answer", daemon=True).start()
    late = f"it took longer than {budget.seconds:g} s"
    text, finish = "", None
    try:
        while (chunk := chunks.get(timeout=budget.left)) is not None:
            if isinstance(chunk, Exception):
                raise chunk
            text, finish = text + chunk.text, chunk.finish_reason or finish
            if not budget.left:
                raise Unfinished(late, text)
    except queue.Empty:
        raise Unfinished(late, text) from None
    finally:
        stop.set()
    return text, finish


def _write(
    engine: Engine,
    prompt_ids: Sequence[int],
    sampling: Sampling,
    adapter: str | None,
    out: "queue.SimpleQueue[Chunk | Exception | None]",
    stop: threading.Event,
) -> None:
    """Generate into the queue, until told to stop."""
    try:
        answer = engine.generate(prompt_ids, sampling, adapter)
        with closing(cast("Generator[Chunk]", answer)) as chunks:
            for chunk in chunks:
                out.put(chunk)
                if stop.is_set():
                    break
        out.put(None)
    except Exception as error:  # handed to the reader, who decides
        out.put(error)
