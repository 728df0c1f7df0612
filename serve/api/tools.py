"""OpenAI's `tools`, `tool_choice` and `response_format`, as a turn takes them."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from serve.api.errors import ApiError
from serve.api.parameters import Strict, either
from serve.engines.base import Constraining, Engine, Tool
from serve.turn.draft import Reasoning
from serve.turn.tools import Tools

MOST_TOOLS = 128
NAME = r"^[A-Za-z0-9_-]{1,64}$"
ANY_OBJECT = {"type": "object"}


class Function(Strict):
    name: str = Field(pattern=NAME)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None  # a demanded call always follows its schema


class FunctionTool(Strict):
    type: Literal["function"]
    function: Function


class Named(Strict):
    name: str


class NamedChoice(Strict):
    type: Literal["function"]
    function: Named


class AllowedTools(Strict):
    mode: Literal["auto", "required"]
    tools: list[NamedChoice] = Field(min_length=1)


class AllowedChoice(Strict):
    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


ToolChoice = Annotated[
    Literal["none", "auto", "required"] | NamedChoice | AllowedChoice | None,
    either('"none", "auto", "required", a function of `tools`, or allowed tools'),
]


class JsonSchema(Strict):
    name: str = Field(pattern=NAME)
    description: str | None = None
    # Left out: any object. Always enforced, whatever `strict` says.
    json_schema: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Strict):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    def schema_of(self) -> dict[str, Any] | None:
        """The JSON schema that is asked for, None for plain text. Raises ApiError 400."""
        if self.type == "json_schema" and self.json_schema is None:
            raise _refused("response_format.json_schema", "json_schema is missing beside its type.")
        if self.type != "json_schema" and self.json_schema is not None:
            raise _refused(
                "response_format.json_schema", f"json_schema does not go with {self.type}."
            )
        if self.json_schema is not None:
            return self.json_schema.json_schema or ANY_OBJECT
        return ANY_OBJECT if self.type == "json_object" else None


def chosen_tools(
    tools: Sequence[FunctionTool] | None, choice: Any, parallel: bool | None
) -> Tools | None:
    """What an answer may or has to call, None where nothing. Raises ApiError 400."""
    offered = [tool.model_dump(exclude_none=True) for tool in tools or []]
    _check_offer(offered)
    if not offered:
        if choice not in (None, "none", "auto"):
            raise _refused("tool_choice", "tool_choice demands a call, but tools are not given.")
        return None
    if choice == "none":
        return None
    if isinstance(choice, NamedChoice):
        offered = _picked(offered, [choice])
    elif isinstance(choice, AllowedChoice):
        offered = _picked(offered, choice.allowed_tools.tools)
    mode = choice.allowed_tools.mode if isinstance(choice, AllowedChoice) else choice
    demanded = mode == "required" or isinstance(choice, NamedChoice)
    return Tools(tuple(offered), demanded, parallel is not False)


def demanded_schema(
    engine: Engine, tools: Tools | None, wanted: Any, param: str = "response_format"
) -> str | None:
    """The JSON schema that an answer is held to, None where it is free.

    Raises ApiError 400 where this engine cannot hold an answer to one, and Unsupported for a schema
    that nothing can be held to.
    """
    schema = tools.schema() if tools and tools.demanded else wanted and json.dumps(wanted)
    if schema is None:
        return None
    if not isinstance(engine, Constraining):
        raise _refused(
            param,
            f"Engine {engine.name} cannot hold an answer to a JSON schema. Leave out "
            f"{param} and a demanded tool_choice, or start with another REDRAFT_ENGINE.",
        )
    engine.check_schema(schema)
    return str(schema)


def reasoning_mode(
    asked: Reasoning | None, usual: Reasoning, schema: str | None, tools: Tools | None
) -> Reasoning:
    """How an answer brings its reasoning; not at all where it is JSON or may call a tool.

    Raises ApiError 400 when both are asked for.
    """
    if schema is None and tools is None:
        return asked or usual
    if asked not in (None, "off"):
        raise _refused(
            "redraft.reasoning",
            f"redraft.reasoning is {asked!r}; it goes neither with a JSON schema nor with tools.",
        )
    return "off"


def _check_offer(offered: Sequence[Tool]) -> None:
    names = [tool["function"]["name"] for tool in offered]
    if len(names) > MOST_TOOLS:
        raise _refused(
            "tools", f"tools has {len(names)} functions; at most {MOST_TOOLS} are taken."
        )
    if (twice := next((name for name in names if names.count(name) > 1), None)) is not None:
        raise _refused("tools", f"tools has {twice!r} twice; a name is a function's own.")


def _picked(offered: Sequence[Tool], wanted: Sequence[NamedChoice]) -> list[Tool]:
    names = [choice.function.name for choice in wanted]
    known = {tool["function"]["name"]: tool for tool in offered}
    if (missing := next((name for name in names if name not in known), None)) is not None:
        raise _refused(
            "tool_choice", f"tool_choice names {missing!r}; tools has {', '.join(known)}."
        )
    return [known[name] for name in names]


def _refused(param: str, message: str) -> ApiError:
    return ApiError(400, message, param=param, code="invalid_value")
