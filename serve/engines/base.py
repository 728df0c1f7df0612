"""What every engine does: the protocol, and the values that cross it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

# OpenAI's chat message: `role`, `content` (text) and, around tools, `tool_calls`, `tool_call_id`.
Message = dict[str, Any]
Tool = dict[
    str, Any
]  # OpenAI's `{"type": "function", "function": {name, description, parameters}}`
BASE = "base"


class EngineError(Exception):
    """An engine cannot do what was asked; the message says what, why and what next."""


class Unsupported(EngineError):
    """This engine, or its model, never can do what a request asks; another one may."""


def unenforceable(why: object) -> Unsupported:
    """What to say of a JSON schema that no answer can be held to."""
    said = " ".join(str(why).split())[:300].rstrip(".")
    return Unsupported(
        f"The JSON schema cannot be enforced: {said}. Simplify it, or leave the schema out."
    )


class Unavailable(EngineError):
    """An engine that is a server of its own does not answer now; later it may.

    `reason` is what the server itself said, where it did.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class AdapterError(EngineError):
    """An adapter cannot be loaded or does not exist here."""


@dataclass(frozen=True)
class Options:
    """What an operator tells an engine; each takes what it knows."""

    url: str = ""  # of a remote engine, with its `/v1`; empty: one on this machine
    api_key: str = field(default="", repr=False)
    vllm_port: int = 8001  # of the vLLM that `redraft up` runs
    context_window: int = 0  # tokens that a model elsewhere takes; 0: what its server says
    quantization: str = "none"  # of the base weights: none, int8, int4
    device: str = "auto"  # of weights on this machine: auto, cpu, cuda


@dataclass(frozen=True)
class Sampling:
    """How to draw: OpenAI's parameters. `temperature` 0 is greedy, `top_k` 0 is off.

    `schema` is a JSON schema, as JSON text, that the answer is held to while it is drawn.
    `logprobs` says that somebody wants to see them, so an engine that has none must refuse.
    """

    max_tokens: int = 512
    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    n: int = 1
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    schema: str | None = None


@dataclass(frozen=True)
class Alternative:
    """One of the likeliest tokens at a position."""

    token_id: int
    logprob: float


@dataclass(frozen=True)
class Scored:
    """A given token's log-probability at temperature 1, and the likeliest tokens at its place."""

    token_id: int
    logprob: float
    top: tuple[Alternative, ...] = ()


class Chunk(NamedTuple):  # made for every token, so as cheap as can be
    """One step of one draft.

    `token_ids` and `logprobs` have equal length and belong to this step; `text` may lag behind
    (a character of several tokens, a stop string that may be coming) and catches up later; a
    character that the end cuts through never comes.
    `logprobs` are the sampler's: log-softmax(logits / temperature) of the token, before
    top-p and a schema narrow the choice; empty where the engine cannot know that number. With
    `private` the token ids are an encoding of the engine's own, good for counting and `decode`, and
    not the base model's.
    `finish_reason` ("stop" or "length") stands on the last chunk of a draft only, and `stopped_by`
    beside it when a stop string ended the draft. `more` says that another chunk is at hand already,
    so that the two may be sent together. `cached` stands on one chunk of an answer: how many
    tokens of the prompt were not read anew, 0 where the engine does not know.
    """

    draft: int
    text: str = ""
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    top_logprobs: tuple[tuple[Alternative, ...], ...] = ()
    finish_reason: str | None = None
    stopped_by: str | None = None
    more: bool = False
    private: bool = False
    cached: int = 0


BEAT = 1.0  # seconds
QUIET = Chunk(0)  # nothing came for a beat; it has no part in the answer


class Engine(Protocol):
    """A text generator with adapters under immutable names. Safe to call from many threads."""

    name: str
    model: str
    context_window: int
    vocabulary_size: int  # token ids are below it

    def encode_chat(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> list[int]:
        """Token ids of the conversation in the model's template, ready for an answer.

        Raises Unsupported for tools, or messages around tools, that it cannot tell.
        """

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text, without special tokens."""

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of token ids, without special tokens."""

    def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, adapter: str | None = None
    ) -> Iterator[Chunk]:
        """Draw `sampling.n` drafts of one prompt; closing the iterator stops within one token.

        While nothing comes it yields QUIET every `BEAT`, so that whoever reads may give up.
        Raises Unsupported for `logprobs` that it does not know.
        """

    def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], adapter: str | None = None
    ) -> list[float]:
        """Log-probability of each completion token after the prompt, at temperature 1."""

    def load_adapter(self, name: str, path: Path) -> None:
        """Make a PEFT folder answer under `name`. Loading a name twice is an AdapterError."""

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter; answers that are being written with it end undisturbed."""

    def adapters(self) -> list[str]:
        """Names that `generate` and `score` accept, besides none (the base weights)."""

    def close(self) -> None:
        """Give back memory and threads."""


def likeliest(
    engine: Engine,
    messages: Sequence[Message],
    max_tokens: int,
    adapter: str | None = None,
    stop: tuple[str, ...] = (),
) -> str:
    """The whole answer to the messages, written greedily."""
    greedy = Sampling(max_tokens=max_tokens, temperature=0.0, stop=stop)
    chunks = engine.generate(engine.encode_chat(messages), greedy, adapter)
    return "".join(chunk.text for chunk in chunks)


@runtime_checkable
class Reporting(Protocol):
    """An engine that is a server of its own, which may be away."""

    def problem(self) -> str | None:
        """Why it cannot answer now, None when it can."""


def room_for(engine: "Windowed", prompt_ids: Sequence[int], virtual: int = 0) -> int:
    """Tokens that the window has left behind a prompt and an adapter's virtual tokens.

    Raises EngineError when there are none.
    """
    room = engine.context_window - len(prompt_ids) - virtual
    if room < 1:
        raise EngineError(
            f"The prompt has {len(prompt_ids)} tokens; the window of {engine.model} is "
            f"{engine.context_window - virtual}. Shorten the conversation."
        )
    return room


def refuse_quantization(engine: str, quantization: str, what: str) -> None:
    """Raises Unsupported where somebody wants another form of the weights of such an engine."""
    if quantization != "none":
        raise Unsupported(
            f"REDRAFT_QUANTIZATION is {quantization}, but {what}. Leave it out, or start with "
            f"REDRAFT_ENGINE=transformers in place of {engine}."
        )


def already_loaded(name: str) -> AdapterError:
    """What to say of a second adapter under a name."""
    return AdapterError(f"Adapter {name} is already loaded; names are immutable.")


def not_loaded(engine: "Adapting", name: str | None) -> AdapterError:
    """What to say of a name that an engine has no adapter under."""
    loaded = ", ".join(engine.adapters()) or "none"
    return AdapterError(f"Adapter {name} is not loaded in engine {engine.name}. Loaded: {loaded}.")


class Windowed(Protocol):
    model: str
    context_window: int


class Adapting(Protocol):
    name: str

    def adapters(self) -> list[str]: ...


@runtime_checkable
class Ranking(Protocol):
    """An engine that also knows the likeliest tokens at the places of a given text."""

    def rank(
        self,
        prompt_ids: Sequence[int],
        completion_ids: Sequence[int],
        top: int,
        adapter: str | None = None,
    ) -> list[Scored]:
        """`score` with the `top` likeliest tokens beside each token, the likeliest first."""


@runtime_checkable
class Constraining(Protocol):
    """An engine that can hold an answer to a JSON schema."""

    def check_schema(self, schema: str) -> None:
        """Raises Unsupported for a JSON schema, given as JSON text, that it cannot enforce."""
