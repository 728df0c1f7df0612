"""Engine `openai`: any server with OpenAI's API as base model, hosted or local, without adapters.

Such a server takes messages and gives text: its tokens are not ours to see. Token ids here are a
private, reversible encoding of text, four bytes or one character to a token, which is near enough
to a model's to count a window with (so token counts in an answer's `usage` are estimates). They
are never recorded as a model's tokens, there are no log-probabilities, and texts cannot be scored.
"""

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from serve.engines.base import (
    QUIET,
    AdapterError,
    Chunk,
    EngineError,
    Message,
    Options,
    Sampling,
    Tool,
    Unsupported,
    refuse_quantization,
)
from serve.engines.instances import fits, readable
from serve.engines.remote import Event, Refused, Remote
from serve.engines.text import StopText

CHAT = 0  # the first token of a conversation; what follows is its JSON
BYTES = 4  # of a token
NOT_FOUND = 404
WINDOW = 8192  # where neither the server nor REDRAFT_CONTEXT_WINDOW says
OPENAI = "https://api.openai.com/v1"
WEIGHTLESS = (  # read by its name, see `serve.engines.says`
    "Engine openai has no weights to train: they are its server's, which takes no adapters."
)
LIMITS = ("max_tokens", "max_completion_tokens")  # OpenAI's newer models take only the second


def open_engine(model: str, home: Path, options: Options) -> "OpenAIEngine":
    refuse_quantization(
        "openai", options.quantization, "the weights behind engine openai are its server's own"
    )
    way_out = "Start it, or set REDRAFT_ENGINE_URL to where it listens, with its /v1."
    remote = Remote("The server", options.url or OPENAI, options.api_key, way_out)
    try:
        return OpenAIEngine(model, remote, options.context_window)
    except BaseException:
        remote.close()
        raise


class OpenAIEngine:
    """The model that a server knows as `model`."""

    name = "openai"
    vocabulary_size = 1 << (8 * BYTES + 1)

    def __init__(self, model: str, remote: Remote, context_window: int) -> None:
        self.model, self._remote = model, remote
        self._limit = LIMITS[0]
        told = self._told_window()  # asked in any case: it proves key and model
        self.context_window = context_window or told or WINDOW

    def encode_chat(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> list[int]:
        if tools or any(m["role"] == "tool" or m.get("tool_calls") for m in messages):
            raise Unsupported(
                "Engine openai passes text alone. Leave `tools` out, or serve the model with "
                "engine vllm or transformers."
            )
        return [CHAT, *self.encode(json.dumps(list(messages), ensure_ascii=False))]

    def encode(self, text: str) -> list[int]:
        return [_token(part) for part in _parts(text)]

    def decode(self, token_ids: Sequence[int]) -> str:
        return b"".join(map(_bytes, token_ids)).decode(errors="replace")

    def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, adapter: str | None = None
    ) -> Iterator[Chunk]:
        self._refuse_adapter(adapter)
        room = self.context_window - len(prompt_ids)
        if room < 1:
            raise EngineError(
                f"The prompt has about {len(prompt_ids)} tokens; the window of {self.model} is "
                f"{self.context_window}. Shorten the conversation, or correct "
                "REDRAFT_CONTEXT_WINDOW."
            )
        if sampling.logprobs or sampling.top_logprobs:
            raise Unsupported("Engine openai knows no log-probabilities. Leave logprobs out.")
        path, prompt = self._prompt(prompt_ids)
        drafts = [_Draft(i, self, sampling) for i in range(sampling.n)]
        body = {**prompt, **_drawn(sampling)}
        missing = len(drafts)
        with closing(self._events(path, body, min(sampling.max_tokens, room))) as events:
            for event, more in events:
                if not event:
                    yield QUIET
                for choice in event.get("choices") or []:
                    if chunk := drafts[choice["index"]].take(choice, more):
                        missing -= chunk.finish_reason is not None
                        yield chunk
                if not missing:
                    return
        raise EngineError(
            f"The server at {self._remote.url} finished {len(drafts) - missing} of {len(drafts)} "
            "drafts. Where it takes no `n`, set REDRAFT_MAX_DRAFTS=1."
        )

    def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], adapter: str | None = None
    ) -> list[float]:
        raise Unsupported(
            "Engine openai cannot score texts: its server shows no log-probabilities of a prompt. "
            "Serve the model with engine vllm or transformers."
        )

    def check_schema(self, schema: str) -> None:
        readable(schema)  # whether its server can enforce it, only that knows

    def load_adapter(self, name: str, path: Path) -> None:
        self._refuse_adapter(name)

    def unload_adapter(self, name: str) -> None:
        self._refuse_adapter(name)

    def adapters(self) -> list[str]:
        return []

    def problem(self) -> str | None:
        return self._remote.problem()

    def close(self) -> None:
        self._remote.close()

    def _refuse_adapter(self, name: str | None) -> None:
        if name is not None:
            raise AdapterError(
                f"Adapter {name} is not loaded: engine openai takes none, as it does not hold the "
                "weights. Serve the base model with engine vllm or transformers to use adapters."
            )

    def _told_window(self) -> int | None:
        """The window that the server's list of models tells. Raises EngineError when the list has
        not our model; a server without such a list is taken at its word."""
        try:
            cards = self._remote.get("/models")["data"]
        except Refused as error:
            if error.status != NOT_FOUND:
                raise
            return None
        known = {card["id"]: card for card in cards}
        if self.model not in known:
            listed = ", ".join(list(known)[:10]) or "none"
            raise EngineError(
                f"The server at {self._remote.url} has no model {self.model!r}. Set REDRAFT_MODEL "
                f"to one that it has: {listed}{' …' if len(known) > 10 else ''}."
            )
        told = known[self.model].get("max_model_len") or known[self.model].get("context_length")
        return int(told) if told else None

    def _prompt(self, prompt_ids: Sequence[int]) -> tuple[str, dict[str, Any]]:
        """Where a prompt goes, and as what. Raises Unsupported for an answer to go on with."""
        text = self.decode(prompt_ids)
        if not prompt_ids or prompt_ids[0] != CHAT:
            return "/completions", {"prompt": text}
        messages, end = json.JSONDecoder().raw_decode(text)
        if text[end:]:
            raise Unsupported(
                "Engine openai cannot go on in the middle of an answer. Ask with "
                "redraft.reasoning: always."
            )
        return "/chat/completions", {"messages": messages}

    def _events(self, path: str, body: dict[str, Any], max_tokens: int) -> Generator[Event]:
        body = {"model": self.model, "stream": True, **body}
        limit = self._limit
        try:
            yield from self._remote.stream(path, {**body, limit: max_tokens})
        except Refused as error:  # before the first event
            if "schema" in str(body.get("response_format")) and error.status == 400:
                raise Unsupported(f"The server cannot hold to the schema: {error}") from error
            if LIMITS[1] not in error.reason or limit == LIMITS[1]:
                raise
            self._limit = LIMITS[1]
            yield from self._remote.stream(path, {**body, self._limit: max_tokens})


class _Draft:
    """One choice's events as chunks. Stop strings are found here: a server does not tell which."""

    def __init__(self, index: int, engine: OpenAIEngine, sampling: Sampling) -> None:
        self.ended = False
        self._index, self._encode, self._text = index, engine.encode, StopText(sampling.stop)
        self._schema, self._whole = sampling.schema, ""

    def take(self, choice: dict[str, Any], more: bool) -> Chunk | None:
        """The chunk of one event; None where it has nothing for us."""
        if self.ended:
            return None
        piece = choice["delta"].get("content") if "delta" in choice else choice.get("text")
        text, reason = self._text.push(piece or ""), choice.get("finish_reason")
        stopped_by = self._text.stopped_by
        self.ended = bool(reason or stopped_by)
        if self.ended:
            text += self._text.finish()
            reason = "length" if reason == "length" and not stopped_by else "stop"
        if not text and not self.ended:
            return None
        self._check(text, reason)
        ids = tuple(self._encode(text))
        return Chunk(self._index, text, ids, (), (), reason, stopped_by, more=more, private=True)

    def _check(self, text: str, reason: str | None) -> None:
        """A server may pass a schema over in silence; what came shows it."""
        if self._schema is not None:
            self._whole += text
            if reason == "stop" and not fits(self._schema, self._whole):
                raise EngineError(
                    f"The server's answer does not fit the JSON schema: {self._whole[:200]!r}. It "
                    "seems to know no response_format; leave the schema out."
                )


def _drawn(sampling: Sampling) -> dict[str, Any]:
    """OpenAI's sampling parameters; those at rest are left out, as not every server knows all."""
    body: dict[str, Any] = {"temperature": sampling.temperature}
    told = {
        "n": (sampling.n, 1),
        "top_p": (sampling.top_p, 1.0),
        "top_k": (sampling.top_k, 0),
        "seed": (sampling.seed, None),
        "frequency_penalty": (sampling.frequency_penalty, 0.0),
        "presence_penalty": (sampling.presence_penalty, 0.0),
    }
    body |= {name: value for name, (value, rest) in told.items() if value != rest}
    if sampling.schema is not None:
        form = {"name": "answer", "schema": json.loads(sampling.schema), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    return body


def _parts(text: str) -> Iterator[bytes]:
    """The text in pieces of whole characters and at most `BYTES` bytes."""
    if text.isascii():  # a character is a byte: the same pieces, sooner
        data = text.encode()
        yield from (data[at : at + BYTES] for at in range(0, len(data), BYTES))
        return
    part = b""
    for character in text:
        more = character.encode(errors="replace")
        if len(part) + len(more) > BYTES:
            yield part
            part = b""
        part += more
    if part:
        yield part


def _token(part: bytes) -> int:
    return int.from_bytes(b"\x01" + part)  # the leading one keeps a zero byte


def _bytes(token: int) -> bytes:
    return token.to_bytes(BYTES + 1).lstrip(b"\x00")[1:]
