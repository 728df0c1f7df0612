"""What Prometheus is told: by routes, adapters and kinds, with no ids and no words of people."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from serve.engines.base import BASE, QUIET, Chunk

REGISTRY = CollectorRegistry()
SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 120)

REQUESTS = Counter(
    "redraft_requests", "Requests, at their end.", ["method", "route", "status"], registry=REGISTRY
)
REQUEST_SECONDS = Histogram(
    "redraft_request_seconds", "From a request to the end of its answer.", ["route"],
    buckets=SECONDS, registry=REGISTRY,
)  # fmt: skip
WAITING = Gauge(
    "redraft_requests_waiting", "Requests for which no thread is free.", registry=REGISTRY
)
RUNNING = Gauge("redraft_generations_running", "Answers being written.", registry=REGISTRY)
GENERATIONS = Counter(
    "redraft_generations", "Answers by how they ended: whole, cancelled, failed.",
    ["adapter", "outcome"], registry=REGISTRY,
)  # fmt: skip
FIRST_TOKEN = Histogram(
    "redraft_first_token_seconds", "From the question to the first token of its answer.",
    ["adapter"], buckets=SECONDS, registry=REGISTRY,
)  # fmt: skip
PROMPT_TOKENS = Counter("redraft_prompt_tokens", "Tokens of prompts.", registry=REGISTRY)
WRITTEN_TOKENS = Counter(
    "redraft_completion_tokens", "Tokens of answers.", ["adapter"], registry=REGISTRY
)
FEEDBACK = Counter(
    "redraft_feedback", "Feedback taken, by kind; ratings also by value.", ["kind", "value"],
    registry=REGISTRY,
)  # fmt: skip
SERVING = Gauge(
    "redraft_adapter_in_service", "1 for the adapter that answers now.",
    ["adapter", "model", "engine"], registry=REGISTRY,
)  # fmt: skip


CANARY = Gauge(
    "redraft_canary_share", "Share of new conversations that the canary answers.", ["adapter"],
    registry=REGISTRY,
)  # fmt: skip


def exposition(adapter: str, model: str, engine: str, shares: dict[str, float]) -> bytes:
    """All metrics in Prometheus' text format, with what serves now; `shares` is the canary's."""
    SERVING.clear()
    SERVING.labels(adapter, model, engine).set(1)
    CANARY.clear()
    for canary, share in shares.items():
        CANARY.labels(canary).set(share)
    return generate_latest(REGISTRY)


def count_waiting(length: Callable[[], float]) -> None:
    """Have the length of the queue in front of the threads told."""
    WAITING.set_function(length)


def metered(
    chunks: Iterator[Chunk], prompt_tokens: int, adapter: str | None, asked: float
) -> Generator[Chunk]:
    """The chunks of an answer to a question of the monotonic moment `asked`, counted on the way."""
    name, outcome, first = adapter or BASE, "failed", True
    written = WRITTEN_TOKENS.labels(name)  # found once, not for every token
    PROMPT_TOKENS.inc(prompt_tokens)
    RUNNING.inc()
    try:
        with closing(cast("Generator[Chunk]", chunks)):
            for chunk in chunks:
                if first and chunk is not QUIET:
                    FIRST_TOKEN.labels(name).observe(time.monotonic() - asked)
                    first = False
                written.inc(len(chunk.token_ids))
                yield chunk
        outcome = "whole"
    except GeneratorExit:
        outcome = "cancelled"
        raise
    finally:
        RUNNING.dec()
        GENERATIONS.labels(name, outcome).inc()
