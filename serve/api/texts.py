"""Continuing raw prompts: no chat template, no rewriting, no window, and nothing is recorded."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from serve.api.errors import ApiError
from serve.api.token_log import TokenLog
from serve.api.usage import told_usage
from serve.engines.base import BASE, QUIET, Chunk, Engine, Ranking, Sampling, Scored
from serve.metrics import metered
from serve.turn.serving import Serving

MOST_TEXTS = 2048  # of one request: all of them are held until its end
TOGETHER = 16  # prompts of one request that are in the engine at once
Piece = TypeVar("Piece")


@dataclass(frozen=True)
class Prompt:
    text: str
    token_ids: list[int]


def read_prompts(
    engine: Engine, given: Sequence[str | list[int]], sampling: Sampling
) -> list[Prompt]:
    """The prompts as tokens. Raises ApiError 400 for what the engine cannot continue."""
    if not given:
        raise _refused("The list of prompts is empty.")
    if (texts := len(given) * sampling.n) > MOST_TEXTS:
        raise _refused(
            f"{len(given)} prompts with n = {sampling.n} are {texts} texts; at most {MOST_TEXTS} "
            "are written for one request. Send several."
        )
    return [_read(engine, one, sampling.max_tokens) for one in given]


def _read(engine: Engine, given: str | list[int], max_tokens: int) -> Prompt:
    if not given:
        raise _refused("A prompt is empty; there is nothing to continue.")
    if isinstance(given, str):
        prompt = Prompt(given, engine.encode(given))
    else:
        _check_tokens(engine, given)
        prompt = Prompt(engine.decode(given), given)
    if len(prompt.token_ids) + max_tokens > engine.context_window:
        raise ApiError(
            400,
            f"The prompt has {len(prompt.token_ids)} tokens and max_tokens is {max_tokens}; "
            f"{engine.model} takes {engine.context_window} tokens in all. Shorten the prompt or "
            "ask for fewer max_tokens.",
            param="prompt",
            code="context_length_exceeded",
        )
    return prompt


def _check_tokens(engine: Engine, token_ids: Sequence[int]) -> None:
    # An id beyond the embeddings breaks a CUDA device for every later request.
    wrong = next((i for i in token_ids if not 0 <= i < engine.vocabulary_size), None)
    if wrong is not None:
        most = engine.vocabulary_size - 1
        raise _refused(f"Token id {wrong} is not one of {engine.model}'s, which are 0 to {most}.")


@dataclass
class Texts:
    """The n texts of each prompt as they grow; `logprobs` None is none."""

    engine: Engine
    prompts: Sequence[Prompt]
    sampling: Sampling
    echo: bool = False
    logprobs: int | None = None
    adapter: str = BASE
    completion_tokens: int = 0
    cached_tokens: int = 0

    def usage(self) -> dict[str, Any]:
        """OpenAI's token counts; a prompt counts once for all its texts."""
        prompt = sum(len(one.token_ids) for one in self.prompts)
        return told_usage(prompt, self.completion_tokens, self.cached_tokens)

    def choices(self) -> list[dict[str, Any]]:
        """OpenAI's choices with nothing in them yet."""
        return [choice(i) for i in range(len(self.prompts) * self.sampling.n)]

    def write(self, serving: Serving, wanted: str | None) -> Generator[dict[str, Any]]:
        """Yields choices, each with what is new in its text; first one that is empty, when the
        adapter is known."""
        with serving.lease(wanted) as adapter:
            self.adapter = adapter or BASE
            yield choice(0)
            texts = (self._texts(at, prompt, adapter) for at, prompt in enumerate(self.prompts))
            yield from in_turns(texts, TOGETHER)

    def _texts(self, at: int, prompt: Prompt, adapter: str | None) -> Generator[dict[str, Any]]:
        n = self.sampling.n
        indices = range(at * n, at * n + n)
        if self.echo:
            logprobs = self._of_prompt(prompt, adapter)
            yield from (choice(i, prompt.text, logprobs) for i in indices)
        if not self.sampling.max_tokens:
            yield from (choice(i, finish_reason="length") for i in indices)
            return
        logs = [TokenLog(self.engine, len(prompt.text) if self.echo else 0) for _ in indices]
        written = self.engine.generate(prompt.token_ids, self.sampling, adapter)
        counted = metered(written, len(prompt.token_ids), adapter, time.monotonic())
        with closing(counted) as chunks:
            for chunk in chunks:
                self.completion_tokens += len(chunk.token_ids)
                self.cached_tokens += chunk.cached
                found = self._of_chunk(chunk, logs[chunk.draft])
                yield choice(indices[chunk.draft], chunk.text, found, chunk.finish_reason)

    def _of_prompt(self, prompt: Prompt, adapter: str | None) -> dict[str, Any] | None:
        """The prompt's own log-probabilities, null for the first token: nothing precedes it."""
        if self.logprobs is None:
            return None
        ids = prompt.token_ids
        if isinstance(self.engine, Ranking):
            ranked = self.engine.rank(ids[:1], ids[1:], self.logprobs, adapter)
        else:
            scores = self.engine.score(ids[:1], ids[1:], adapter)
            ranked = [Scored(*pair) for pair in zip(ids[1:], scores, strict=True)]
        known = not self.logprobs or isinstance(self.engine, Ranking)
        tops = [each.top if known else None for each in ranked]
        logprobs = [each.logprob for each in ranked]
        return TokenLog(self.engine).take(ids, [None, *logprobs], [None, *tops])

    def _of_chunk(self, chunk: Chunk, log: TokenLog) -> dict[str, Any] | None:
        if self.logprobs is None or chunk is QUIET:
            return None
        tops = chunk.top_logprobs or [()] * len(chunk.token_ids)
        return log.take(chunk.token_ids, chunk.logprobs, tops)


def choice(
    index: int,
    text: str = "",
    logprobs: dict[str, Any] | None = None,
    finish_reason: str | None = None,
) -> dict[str, Any]:
    """A choice of OpenAI's, or a piece of one."""
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}


def in_turns(answers: Iterator[Generator[Piece]], most: int) -> Generator[Piece]:
    """A piece of each in turn, of at most `most` at a time, so that the engine batches them."""
    active = list(islice(answers, most))
    try:
        while active:
            for answer in list(active):
                try:
                    yield next(answer)
                except StopIteration:
                    active.remove(answer)
                    active += islice(answers, 1)
    finally:
        for answer in active:
            answer.close()


def _refused(message: str) -> ApiError:
    return ApiError(400, message, param="prompt", code="invalid_value")
