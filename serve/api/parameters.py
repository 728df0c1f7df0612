"""OpenAI's parameters that this server does not serve, or takes without an effect."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from serve.api.errors import ApiError


class Strict(BaseModel):
    """Types are not converted ("1" is not 1), unknown fields are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


@dataclass(frozen=True)
class Refused:
    """Why a parameter is refused; null and the `idle` values ask for nothing, so they pass."""

    why: str
    idle: tuple[Any, ...] = ()


CHAT_REFUSED = {
    "audio": Refused("answers are text"),
    "function_call": Refused("functions are called by `tools`", ("none",)),
    "functions": Refused("functions are called by `tools`", ([],)),
    "logit_bias": Refused("tokens are drawn as the model weighs them", ({},)),
    "modalities": Refused("answers are text", (["text"],)),
    "moderation": Refused("there is no moderation model here"),
    "prediction": Refused("there are no predicted outputs here"),
    "reasoning_effort": Refused("`redraft.reasoning` says whether an answer brings its reasoning"),
    "verbosity": Refused("ask for a short or long answer in a message", ("medium",)),
    "web_search_options": Refused("this server does not search the web"),
}
COMPLETION_REFUSED = {
    "logit_bias": CHAT_REFUSED["logit_bias"],
    "suffix": Refused("the models served here do not fill in the middle", ("",)),
}
RESPONSE_REFUSED = {
    "access_programs": Refused("there are no programs to be admitted to here"),
    "background_options": Refused(
        "background answers start as soon as they can", ({}, {"completion_window": "soonest"})
    ),
    "context_management": Refused("`truncation: auto` leaves out the oldest turns", ([],)),
    "conversation": Refused("`previous_response_id` goes on with a conversation"),
    "image": Refused("answers are text", ({},)),
    "moderation": CHAT_REFUSED["moderation"],
    "prompt": Refused("there are no stored prompts here; send `instructions`"),
}
REASONING_REFUSED = {
    "context": Refused("reasoning is not sent to the model again", ("auto", "current_turn")),
    "effort": Refused(CHAT_REFUSED["reasoning_effort"].why, ("none",)),
    "generate_summary": Refused("reasoning is not summarised here"),
    "mode": Refused("there is one mode here", ("standard",)),
    "summary": Refused("reasoning is not summarised here"),
}


class Parameters(Strict):
    """A request whose `refused` parameters are a 400 that says why."""

    refused: ClassVar[Mapping[str, Refused]] = {}
    within: ClassVar[str] = ""  # the parameter, with a dot, that these are parts of

    @model_validator(mode="before")
    @classmethod
    def _without_refused(cls, given: Any) -> Any:
        """The parameters but those refused ones that ask for nothing. Raises ApiError 400."""
        if not isinstance(given, dict):
            return given
        for name in given.keys() & cls.refused.keys():
            _check_idle(f"{cls.within}{name}", given[name], cls.refused[name])
        return {name: value for name, value in given.items() if name not in cls.refused}


# A base model or an adapter, as /v1/models lists them; `redraft` is whichever serves.
ModelName = Annotated[str, Field(min_length=1)]


class Labels(Strict):
    """Taken from every client, without an effect: words for OpenAI's dashboard, cache and bill."""

    metadata: dict[str, Any] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None
    safety_identifier: str | None = None
    service_tier: (
        Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"] | None
    ) = None
    store: bool | None = None
    user: str | None = None


def either(kinds: str) -> WrapValidator:
    """One error for a union, in our words, where pydantic has one for each of its members."""

    def check(given: Any, inner: ValidatorFunctionWrapHandler) -> Any:
        try:
            return inner(given)
        except ValidationError:
            raise PydanticCustomError("wrong_kind", "Input should be {kinds}", {"kinds": kinds})  # noqa: B904

    return WrapValidator(check)


def _check_idle(name: str, value: Any, refused: Refused) -> None:
    if value is not None and value not in refused.idle:
        raise ApiError(
            400,
            f"Parameter {name!r} is not supported: {refused.why}. Leave it out.",
            param=name,
            code="unsupported_parameter",
        )
