"""What the endpoints that write text take: OpenAI's parameters, each honoured or refused."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from serve.api.errors import ApiError
from serve.api.parameters import (
    CHAT_REFUSED,
    COMPLETION_REFUSED,
    Labels,
    ModelName,
    Parameters,
    Strict,
    either,
)
from serve.api.tools import FunctionTool, ResponseFormat, ToolChoice
from serve.engines.base import Message, Sampling
from serve.settings import Settings
from serve.strict_json import read_json
from serve.turn.draft import Reasoning


class TextPart(Strict):
    type: Literal["text"]
    text: str


class CalledFunction(Strict):
    name: str
    arguments: str


class CalledTool(Strict):
    id: str
    type: Literal["function"]
    function: CalledFunction
    index: int | None = None  # as a stream's pieces have it

    def as_message(self) -> dict[str, Any]:
        """As chat templates take it: the arguments as an object."""
        try:
            arguments = read_json(self.function.arguments or "{}")
        except ValueError:
            arguments = self.function.arguments  # as the model wrote it
        function = {"name": self.function.name, "arguments": arguments}
        return {"id": self.id, "type": "function", "function": function}


class ChatMessage(Strict):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[
        str | list[TextPart] | None, either("a string or a list of text parts, no images or audio")
    ] = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[CalledTool] | None = None
    tool_call_id: str | None = None
    annotations: list[Any] | None = None  # of an answer: not sent to the model again
    # Answers come back in the next request as they were dumped, with these as null.
    audio: None = None
    function_call: None = None
    reasoning_content: str | None = None  # ours: not sent to the model again

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content or [])

    def as_message(self) -> Message:
        """As the engine takes it."""
        message: Message = {"role": self.role, "content": self.text}
        if self.tool_calls:
            message["tool_calls"] = [call.as_message() for call in self.tool_calls]
        if self.role == "tool":
            message |= {"tool_call_id": self.tool_call_id}
        return message


def plain_messages(given: Sequence[ChatMessage]) -> list[Message]:
    """The messages as the engine takes them.

    Raises ApiError 400 when the last is neither a user's nor a tool's, and for the result of a call
    that was not made.
    """
    called: set[str] = set()
    for at, message in enumerate(given):
        if message.tool_calls and message.role != "assistant":
            raise _refused(f"messages.{at}", f"A message of role {message.role} calls no tools.")
        if message.role == "tool" and message.tool_call_id not in called:
            raise _refused(
                f"messages.{at}",
                f"tool_call_id is {message.tool_call_id!r}; no assistant message before it made "
                "such a call.",
            )
        called |= {call.id for call in message.tool_calls or []}
    last = given[-1]
    if last.role != "tool" and (last.role != "user" or not last.text.strip()):
        raise _refused(
            "messages",
            "The last message must be the user's and not empty, or a tool's result: it is the one "
            "answered.",
        )
    return [message.as_message() for message in given]


class StreamOptions(BaseModel):
    """Unknown sub-keys pass: load testers send their own."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)
    include_usage: bool = False


class RedraftOptions(Strict):
    conversation_id: str | None = None
    parent_turn_id: str | None = Field(
        None,
        description="The turn of that conversation that this one goes on from, for branches; empty "
        "for one that begins anew. Left out, it follows the last.",
    )
    reasoning: Reasoning | None = None
    truncation: Literal["auto", "disabled"] = "auto"


Penalty = Annotated[float, Field(ge=-2, le=2)]
Stop = Annotated[str | list[str] | None, either("a string or a list of strings")]


class SamplingRequest(Parameters):
    """What both completions endpoints take."""

    most_stops: ClassVar[int] = 4

    model: ModelName
    n: int | None = Field(None, ge=1)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    stop: Stop = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None

    @property
    def with_usage(self) -> bool:
        """Whether a stream tells the token counts."""
        return self.stream_options is not None and self.stream_options.include_usage

    def drawn(self, settings: Settings, max_tokens: int, top_logprobs: int | None) -> Sampling:
        """The sampling settings, with the server's defaults; `top_logprobs` None shows none.

        Raises ApiError 400.
        """
        self._check(settings)
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Sampling(
            max_tokens=max_tokens,
            temperature=_or(self.temperature, settings.temperature),
            top_p=_or(self.top_p, 1.0),
            n=self.n or 1,
            stop=tuple(stop),
            seed=self.seed,
            logprobs=top_logprobs is not None,
            top_logprobs=top_logprobs or 0,
            frequency_penalty=_or(self.frequency_penalty, 0.0),
            presence_penalty=_or(self.presence_penalty, 0.0),
        )

    def _check(self, settings: Settings) -> None:
        if (self.n or 1) > settings.max_drafts:
            raise _refused("n", f"n is {self.n}; at most {settings.max_drafts} drafts are written.")
        if isinstance(self.stop, list) and len(self.stop) > self.most_stops:
            given, most = len(self.stop), self.most_stops
            raise _refused("stop", f"stop has {given} strings; at most {most} are taken.")
        if self.stream_options is not None and not self.stream:
            raise _refused("stream_options", "stream_options needs stream: true.")


class ChatRequest(SamplingRequest, Labels):
    """The parameters of OpenAI's chat completions, and `redraft` with ours."""

    refused = CHAT_REFUSED

    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = False
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: ToolChoice = None
    parallel_tool_calls: bool | None = None
    redraft: RedraftOptions | None = None

    def sampling(self, settings: Settings) -> Sampling:
        """The sampling settings, with the server's defaults. Raises ApiError 400."""
        if self.top_logprobs is not None and not self.logprobs:
            raise _refused("top_logprobs", "top_logprobs needs logprobs: true.")
        most = self.max_completion_tokens or self.max_tokens or settings.max_tokens
        return self.drawn(settings, most, (self.top_logprobs or 0) if self.logprobs else None)


TokenIds = list[int]
Prompt = Annotated[
    str | TokenIds | list[str] | list[TokenIds],
    either("a string, a list of strings, a list of token ids or a list of such lists"),
]


class CompletionRequest(SamplingRequest):
    """The parameters of OpenAI's legacy completions, with its default of 16 tokens."""

    refused = COMPLETION_REFUSED
    most_stops = 16  # OpenAI takes 4; tasks of evaluation harnesses have more

    prompt: Prompt
    max_tokens: int | None = Field(None, ge=0)
    logprobs: int | None = Field(None, ge=0, le=5)
    echo: bool | None = False
    best_of: int | None = None
    user: str | None = None  # taken without an effect, as in a chat

    @property
    def prompts(self) -> list[str | TokenIds]:
        """Each prompt by itself."""
        one = isinstance(self.prompt, str) or (self.prompt and isinstance(self.prompt[0], int))
        return [self.prompt] if one else list(self.prompt)  # type: ignore[list-item,arg-type]

    def sampling(self, settings: Settings) -> Sampling:
        """The sampling settings, with the server's defaults. Raises ApiError 400."""
        if self.best_of is not None and self.best_of != (self.n or 1):
            raise _refused("best_of", "best_of is not supported: all n texts are returned.")
        most = 16 if self.max_tokens is None else self.max_tokens
        return self.drawn(settings, most, self.logprobs)


class ChatRestTurn(Strict):
    query: str
    answer: str


class ChatRestRequest(Strict):
    """A question and the turns before it."""

    prompt: str
    history: list[ChatRestTurn] | None = None

    @property
    def messages(self) -> list[Message]:
        """The conversation as the engine takes it. Raises ApiError 400 for an empty prompt."""
        said = []
        for turn in self.history or []:
            said.append(ChatMessage(role="user", content=turn.query))
            said.append(ChatMessage(role="assistant", content=turn.answer))
        return plain_messages([*said, ChatMessage(role="user", content=self.prompt)])


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _refused(param: str, message: str) -> ApiError:
    return ApiError(400, message, param=param, code="invalid_value")
