"""What POST /v1/responses takes: OpenAI's parameters, each honoured or refused."""

from typing import Annotated, Any, Literal

from pydantic import Field

from serve.api.parameters import (
    REASONING_REFUSED,
    RESPONSE_REFUSED,
    Labels,
    ModelName,
    Parameters,
    Refused,
    Strict,
)
from serve.api.responses.items import Input
from serve.api.responses.structure import (
    Choice,
    ResponseTool,
    TextFormat,
    TextOptions,
    refused,
)
from serve.api.schemas import Penalty
from serve.api.tools import chosen_tools
from serve.engines.base import Sampling
from serve.settings import Settings
from serve.turn.draft import Reasoning
from serve.turn.tools import Tools

LOGPROBS = "message.output_text.logprobs"
Json = dict[str, Any]
Key = Annotated[str, Field(max_length=64)]
Value = Annotated[str, Field(max_length=512)]
# All but the log-probabilities are of things that no answer here has: nothing is left out.
Includable = Literal[
    "message.output_text.logprobs",
    "message.input_image.image_url",
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
]


class ReasoningOptions(Parameters):
    """Taken where it asks for nothing: `redraft.reasoning` is what these models know."""

    refused = REASONING_REFUSED
    within = "reasoning."


class ResponseStreamOptions(Parameters):
    refused = {"include_obfuscation": Refused("events are not padded; put TLS in front", (False,))}
    within = "stream_options."


class ResponseOptions(Strict):
    conversation_id: str | None = None
    reasoning: Reasoning | None = None


class ResponseRequest(Parameters, Labels):
    """The parameters of OpenAI's Responses API, and `redraft` with ours."""

    refused = RESPONSE_REFUSED

    model: ModelName
    input: Input = Field(min_length=1)
    instructions: str | None = None
    previous_response_id: str | None = None
    background: bool | None = False
    include: list[Includable] | None = None
    max_output_tokens: int | None = Field(None, ge=1)
    max_tool_calls: int | None = Field(None, ge=1)  # of built-in tools, of which there are none
    metadata: dict[Key, Value] | None = Field(None, max_length=16)
    parallel_tool_calls: bool | None = True
    reasoning: ReasoningOptions | None = None
    store: bool | None = True
    stream: bool | None = False
    stream_options: ResponseStreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    text: TextOptions | None = None
    tool_choice: Choice = None
    tools: list[ResponseTool] | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    truncation: Literal["auto", "disabled"] | None = None
    redraft: ResponseOptions | None = None

    @property
    def stored(self) -> bool:
        """Whether the response can be had again."""
        return self.store is not False

    @property
    def logprobs(self) -> bool:
        """Whether the text comes with log-probabilities."""
        return LOGPROBS in (self.include or []) or bool(self.top_logprobs)

    @property
    def format(self) -> TextFormat:
        """The form of the text, as given or as it is."""
        given = self.text.format if self.text else None
        return given or TextFormat(type="text")

    @property
    def offered(self) -> Tools | None:
        """What the answer may or has to call. Raises ApiError 400."""
        choice = self.tool_choice
        nested = choice if choice is None or isinstance(choice, str) else choice.nested
        given = [tool.nested for tool in self.tools or []]
        return chosen_tools(given, nested, self.parallel_tool_calls)

    @property
    def options(self) -> ResponseOptions:
        """Ours, as given or as they are."""
        return self.redraft or ResponseOptions()

    def check(self) -> None:
        """Refuse what does not go together. Raises ApiError 400."""
        if self.background and not self.stored:
            raise refused("store", "background needs store: the answer is fetched later.")
        if self.stream_options is not None and not self.stream:
            raise refused("stream_options", "stream_options needs stream: true.")
        if self.previous_response_id and self.options.conversation_id:
            raise refused(
                "redraft.conversation_id",
                "The conversation is that of previous_response_id. Send one of the two.",
            )

    def sampling(self, settings: Settings) -> Sampling:
        """The sampling settings, with the server's defaults."""
        return Sampling(
            max_tokens=self.max_output_tokens or settings.max_tokens,
            temperature=settings.temperature if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            logprobs=self.logprobs,
            top_logprobs=self.top_logprobs or 0,
            frequency_penalty=self.frequency_penalty or 0.0,
            presence_penalty=self.presence_penalty or 0.0,
        )
