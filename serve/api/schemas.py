"""What the chat endpoint takes: OpenAI's parameters, each honoured or refused."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serve.api.errors import ApiError
from serve.engines.base import Message, Sampling
from serve.settings import Settings
from serve.turn.draft import Reasoning


class Strict(BaseModel):
    """Types are not converted ("1" is not 1), unknown fields are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class TextPart(Strict):
    type: Literal["text"]
    text: str


class ChatMessage(Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    refusal: str | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content or [])


def plain_messages(given: Sequence[ChatMessage]) -> list[Message]:
    """The messages as the engine takes them. Raises ApiError 400 when the last is not a user's."""
    messages = [{"role": m.role, "content": m.text} for m in given]
    if messages[-1]["role"] != "user" or not messages[-1]["content"].strip():
        raise ApiError(
            400,
            "The last message must be the user's and not empty: it is the one answered.",
            param="messages",
            code="invalid_value",
        )
    return messages


class StreamOptions(BaseModel):
    """Unknown sub-keys pass: load testers send their own."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)
    include_usage: bool = False


class ResponseFormat(Strict):
    type: Literal["text"]


class RedraftOptions(Strict):
    conversation_id: str | None = None
    reasoning: Reasoning | None = None
    truncation: Literal["auto", "disabled"] = "auto"


Penalty = Annotated[float, Field(ge=-2, le=2)]


class ChatRequest(Strict):
    model: str | None = None
    messages: list[ChatMessage] = Field(min_length=1)
    n: int | None = Field(None, ge=1)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: str | list[str] | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    logprobs: bool | None = False
    top_logprobs: int | None = Field(None, ge=0, le=20)
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    response_format: ResponseFormat | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    redraft: RedraftOptions | None = None

    def sampling(self, settings: Settings) -> Sampling:
        """The sampling settings, with the server's defaults. Raises ApiError 400."""
        self._check(settings)
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Sampling(
            max_tokens=self.max_completion_tokens or self.max_tokens or settings.max_tokens,
            temperature=_or(self.temperature, settings.temperature),
            top_p=_or(self.top_p, 1.0),
            n=self.n or 1,
            stop=tuple(stop),
            seed=self.seed,
            top_logprobs=self.top_logprobs or 0,
            frequency_penalty=_or(self.frequency_penalty, 0.0),
            presence_penalty=_or(self.presence_penalty, 0.0),
        )

    def _check(self, settings: Settings) -> None:
        if (self.n or 1) > settings.max_drafts:
            raise _refused("n", f"n is {self.n}; at most {settings.max_drafts} drafts are written.")
        if isinstance(self.stop, list) and len(self.stop) > 4:
            raise _refused("stop", f"stop has {len(self.stop)} strings; at most 4 are taken.")
        if self.top_logprobs is not None and not self.logprobs:
            raise _refused("top_logprobs", "top_logprobs needs logprobs: true.")
        if self.stream_options is not None and not self.stream:
            raise _refused("stream_options", "stream_options needs stream: true.")


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _refused(param: str, message: str) -> ApiError:
    return ApiError(400, message, param=param, code="invalid_value")
