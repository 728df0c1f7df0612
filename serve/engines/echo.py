"""Engine `echo`: deterministic and scriptable, for tests, docs and a first look at the page.

It answers with the last user message. A message may script it: `/say TEXT` answers TEXT,
`/count N` answers N words, `/slow SECONDS TEXT` pauses before each word, `/fail TEXT` says TEXT and
then breaks. A prompt that goes on behind the chat is continued. Draft i > 0 ends with
" (draft i)". An adapter answers `[name] ` first. An answer that is held to a JSON schema is a small
value that fits it, and where tools are offered a user's plain message calls the first one. It
answers "What is my name?" with the newest "My name is …": a client sees what history arrives.
"""

import hashlib
import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from serve.engines.adapter_folder import verify_adapter
from serve.engines.base import (
    BEAT,
    QUIET,
    Alternative,
    Chunk,
    EngineError,
    Message,
    Options,
    Sampling,
    Scored,
    Tool,
    already_loaded,
    not_loaded,
    refuse_quantization,
    room_for,
)
from serve.engines.instances import instance
from serve.engines.text import TextStream

OFFSET = 256  # token ids: a UTF-8 byte each, after two marks
START, END = 0, 1
# What others read here by its name, see `serve.engines.says`.
SCRIPTED = True  # it bears a base model's name and not its weights: nothing is learned from it
WEIGHTLESS = "Engine echo repeats and has no weights to train."


def open_engine(model: str, home: Path, options: Options) -> "EchoEngine":
    refuse_quantization("echo", options.quantization, "engine echo has no weights to quantise")
    return EchoEngine(model)


class EchoEngine:
    """Every token is a UTF-8 byte (id = byte + 256); the prompt is the chat as JSON."""

    name = "echo"
    context_window = 8192
    vocabulary_size = OFFSET + 256

    def __init__(self, model: str) -> None:
        self.model = model
        self._adapters: dict[str, Path] = {}

    def encode_chat(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> list[int]:
        offered = [{"role": "tools", "tools": list(tools)}] if tools else []
        return [START, *self.encode(json.dumps([*offered, *messages], ensure_ascii=False))]

    def encode(self, text: str) -> list[int]:
        return [byte + OFFSET for byte in text.encode()]

    def decode(self, token_ids: Sequence[int]) -> str:
        return bytes(i - OFFSET for i in token_ids if i >= OFFSET).decode(errors="replace")

    def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, adapter: str | None = None
    ) -> Iterator[Chunk]:
        self._require(adapter)
        room_for(self, prompt_ids)
        script = _Script(self.decode(prompt_ids), adapter, sampling.schema)
        drafts = [self._draft(i, script, sampling) for i in range(sampling.n)]
        while drafts:
            for draft in list(drafts):
                chunk = next(draft, None)
                if chunk is None:
                    drafts.remove(draft)
                else:
                    yield chunk

    def _draft(self, index: int, script: "_Script", sampling: Sampling) -> Iterator[Chunk]:
        stream = TextStream(self.decode, sampling.stop)
        seed = f"{sampling.seed}:{index}:{script.answer}"
        chance = random.Random(hashlib.sha256(seed.encode()).digest())  # noqa: S311
        left = sampling.max_tokens
        for word in script.words(index):
            yield from _pause(script.pause)
            ids = self.encode(word)[:left]
            left -= len(ids)
            text = "".join(stream.push(i) for i in ids)
            yield _chunk(index, text, ids, chance, sampling.top_logprobs)
            if stream.stopped_by or left == 0:
                break
        if script.fails:
            raise EngineError("Engine echo was told to fail.")
        rest = stream.finish()
        reason = "length" if left == 0 and not stream.stopped_by else "stop"
        yield Chunk(index, rest, finish_reason=reason, stopped_by=stream.stopped_by)

    def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], adapter: str | None = None
    ) -> list[float]:
        self._require(adapter)
        digest = hashlib.sha256(repr((adapter, list(prompt_ids), list(completion_ids))).encode())
        chance = random.Random(digest.digest())  # noqa: S311
        return [-chance.random() - 0.01 for _ in completion_ids]

    def rank(
        self,
        prompt_ids: Sequence[int],
        completion_ids: Sequence[int],
        top: int,
        adapter: str | None = None,
    ) -> list[Scored]:
        scores = self.score(prompt_ids, completion_ids, adapter)
        return [
            Scored(token, logprob, _alternatives(token, logprob, top))
            for token, logprob in zip(completion_ids, scores, strict=True)
        ]

    def check_schema(self, schema: str) -> None:
        instance(schema, "")

    def load_adapter(self, name: str, path: Path) -> None:
        if name in self._adapters:
            raise already_loaded(name)
        verify_adapter(name, path, self.model)
        self._adapters[name] = path

    def unload_adapter(self, name: str) -> None:
        self._require(name)
        del self._adapters[name]

    def adapters(self) -> list[str]:
        return sorted(self._adapters)

    def close(self) -> None:
        self._adapters.clear()

    def _require(self, adapter: str | None) -> None:
        if adapter is not None and adapter not in self._adapters:
            raise not_loaded(self, adapter)


class _Script:
    """What the last message tells the engine to do."""

    def __init__(self, prompt: str, adapter: str | None, schema: str | None) -> None:
        messages, self._written = _read_prompt(prompt)
        said = _last_said(messages)
        self.pause, self.fails, self._exact = 0.0, False, False
        self.answer = f"You said: {said}"
        if schema is not None:
            self.answer, self._exact = instance(schema, said), True
        elif match := re.fullmatch(r"/(say|fail)\s(.*)", said, re.S):
            self.fails, self.answer = match[1] == "fail", match[2]
        elif match := re.fullmatch(r"/slow\s+([\d.]+)\s(.*)", said, re.S):
            self.pause, self.answer = float(match[1]), match[2]
        elif match := re.fullmatch(r"/count\s+(\d+)\s*", said):
            self.answer = " ".join(str(i + 1) for i in range(int(match[1])))
        elif name := _name(messages, said):
            self.answer = name
        elif call := _call(messages, said):
            self.answer, self._exact = call, True
        if adapter and not self._exact:
            self.answer = f"[{adapter}] {self.answer}"

    def words(self, draft: int) -> list[str]:
        ending = f" (draft {draft})" if draft and not self._exact else ""
        return re.findall(r"\S+\s*|\s+", (self.answer + ending).removeprefix(self._written))


def _read_prompt(prompt: str) -> tuple[list[Any], str]:
    """(the messages, what was written behind them already); plain text is a user's message."""
    plain = [{"role": "user", "content": prompt}]
    try:
        messages, end = json.JSONDecoder().raw_decode(prompt)
    except ValueError:
        return plain, ""
    if not isinstance(messages, list):  # plain text that begins like JSON
        return plain, ""
    return [m for m in messages if isinstance(m, dict)], prompt[end:]


def _last_said(messages: Sequence[Any]) -> str:
    """What the user, or a tool, said last."""
    said = [m.get("content") for m in messages if m.get("role") in ("user", "tool")]
    return str(said[-1]) if said else ""


def _name(messages: Sequence[Any], said: str) -> str | None:
    """The user's name, where it was told and is asked for."""
    if not said.startswith("What is my name?"):
        return None
    earlier = [str(m.get("content")) for m in messages if m.get("role") == "user"]
    return next(iter(re.findall(r"My name is (\w+)", "\n".join(earlier))[::-1]), None)


def _call(messages: Sequence[Any], said: str) -> str | None:
    """A call of the first tool on offer, as Hermes and Qwen write it; None behind its result."""
    offered = [tool for m in messages if m.get("role") == "tools" for tool in m["tools"]]
    if not offered or messages[-1].get("role") != "user":
        return None
    function = offered[0]["function"]
    arguments = instance(json.dumps(function.get("parameters") or {"type": "object"}), said)
    return f'<tool_call>\n{{"name": "{function["name"]}", "arguments": {arguments}}}\n</tool_call>'


def _pause(seconds: float) -> Iterator[Chunk]:
    while seconds > BEAT:
        time.sleep(BEAT)
        seconds -= BEAT
        yield QUIET
    time.sleep(seconds)


def _chunk(index: int, text: str, ids: list[int], chance: random.Random, top: int) -> Chunk:
    logprobs = tuple(-chance.random() - 0.01 for _ in ids)
    alternatives = tuple(
        _alternatives(token, logprob, top) for token, logprob in zip(ids, logprobs, strict=True)
    )
    return Chunk(index, text, tuple(ids), logprobs, alternatives if top else ())


def _alternatives(token: int, logprob: float, top: int) -> tuple[Alternative, ...]:
    """The token itself and `top` - 1 that are made up."""
    return tuple(
        Alternative(token if rank == 0 else OFFSET + 32 + rank, logprob - rank)
        for rank in range(top)
    )
