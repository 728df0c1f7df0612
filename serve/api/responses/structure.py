"""`text.format`, `tools` and `tool_choice`: flat here, nested in chat completions."""

from typing import Annotated, Any, Literal

from pydantic import Field

from serve.api import tools as chat
from serve.api.errors import ApiError
from serve.api.parameters import CHAT_REFUSED, Parameters, Strict, either
from serve.api.responses.items import Part

Json = dict[str, Any]


class TextFormat(Strict):
    """A format, of which JSON schemas have a name and a schema."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = Field(None, pattern=chat.NAME)
    description: str | None = None
    json_schema: Json | None = Field(None, alias="schema")
    strict: bool | None = None  # always enforced

    def schema_of(self) -> Json | None:
        """The JSON schema that is asked for, None for plain text. Raises ApiError 400."""
        if self.type == "json_schema" and (self.json_schema is None or self.name is None):
            raise refused("text.format", "A format of type json_schema has a name and a schema.")
        if self.type != "json_schema" and self.json_schema is not None:
            raise refused("text.format.schema", f"A schema does not go with {self.type}.")
        return chat.ANY_OBJECT if self.type == "json_object" else self.json_schema

    @property
    def resource(self) -> Json:
        """As the response object tells it."""
        told = {"name": self.name, "description": self.description, "schema": self.json_schema}
        return {"type": self.type} | ({**told, "strict": True} if self.json_schema else {})


class TextOptions(Parameters):
    refused = {"verbosity": CHAT_REFUSED["verbosity"]}
    within = "text."

    format: TextFormat | None = None


class ResponseTool(Part):
    type: Literal["function"]
    name: str = Field(pattern=chat.NAME)
    description: str | None = None
    parameters: Json | None = None
    strict: bool | None = None  # a demanded call always follows its schema

    @property
    def nested(self) -> chat.FunctionTool:
        """As chat completions have it."""
        function = chat.Function(**self.model_dump(exclude={"type"}))
        return chat.FunctionTool(type="function", function=function)


class FunctionChoice(Strict):
    type: Literal["function"]
    name: str

    @property
    def nested(self) -> chat.NamedChoice:
        """As chat completions have it."""
        return chat.NamedChoice(type="function", function=chat.Named(name=self.name))


class AllowedFunctions(Strict):
    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: list[FunctionChoice] = Field(min_length=1)

    @property
    def nested(self) -> chat.AllowedChoice:
        """As chat completions have it."""
        named = [choice.nested for choice in self.tools]
        allowed = chat.AllowedTools(mode=self.mode, tools=named)
        return chat.AllowedChoice(type="allowed_tools", allowed_tools=allowed)


Choice = Annotated[
    Literal["none", "auto", "required"] | FunctionChoice | AllowedFunctions | None,
    either('"none", "auto", "required", a function of `tools`, or allowed tools'),
]


def refused(param: str, message: str, code: str = "invalid_value") -> ApiError:
    """A refusal of one parameter."""
    return ApiError(400, message, param=param, code=code)
