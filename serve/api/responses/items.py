"""Items of the Responses API: as clients send them, as they are kept, and as messages."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Tag, model_validator
from pydantic_core import PydanticCustomError

from feedback.ids import plausible
from serve.api.errors import ApiError
from serve.api.parameters import Strict, either
from serve.api.schemas import CalledFunction, CalledTool
from serve.engines.base import Message

Json = dict[str, Any]
Status = Literal["in_progress", "completed", "incomplete"]
ITEM_ID = re.compile(r"[a-z]+_([0-9a-f]{24})_(?:in)?\d+")


class Part(Strict):
    """Null is as if left out: answers come back in the next request as they were dumped."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if value is not None}


class ItemText(Part):
    type: Literal["input_text", "output_text"]
    text: str
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None
    prompt_cache_breakpoint: Json | None = None  # nothing is cached by it


class ItemRefusal(Part):
    type: Literal["refusal"]
    refusal: str

    @property
    def text(self) -> str:
        return self.refusal


Content = Annotated[
    str | list[ItemText | ItemRefusal],
    either("a string or a list of text parts, no images, files or audio"),
]


class MessageItem(Part):
    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Content
    id: str | None = None
    status: Status | None = None
    phase: Literal["commentary", "final_answer"] | None = None

    def kept(self) -> Json:
        """The item in OpenAI's full form."""
        told: Json = {"type": "message", "role": self.role, "status": "completed"}
        said = self.content if isinstance(self.content, list) else [self.content]
        texts = [part if isinstance(part, str) else part.text for part in said]
        if self.role != "assistant":
            return {**told, "content": [{"type": "input_text", "text": text} for text in texts]}
        told |= {"phase": self.phase} if self.phase else {}
        return {**told, "content": [output_text(text) for text in texts]}


class FunctionCallItem(Part):
    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    id: str | None = None
    status: Status | None = None

    def kept(self) -> Json:
        """The item in OpenAI's full form."""
        return {**function_call(self.call_id, self.name, self.arguments), "status": "completed"}


class FunctionOutputItem(Part):
    type: Literal["function_call_output"]
    call_id: str
    output: Content
    id: str | None = None
    status: Status | None = None

    def kept(self) -> Json:
        """The item in OpenAI's full form."""
        output = self.output
        text = output if isinstance(output, str) else "".join(part.text for part in output)
        told: Json = {"type": "function_call_output", "call_id": self.call_id, "output": text}
        return {**told, "status": "completed"}


class ReasoningItem(Part):
    """Taken back from clients, and not sent to the model again."""

    type: Literal["reasoning"]
    summary: list[Json] = []
    content: list[Json] | None = None
    encrypted_content: str | None = None
    id: str | None = None
    status: Status | None = None

    def kept(self) -> Json:
        """The item in OpenAI's full form."""
        told: Json = {"type": "reasoning", "summary": self.summary, "status": "completed"}
        return told | ({"content": self.content} if self.content else {})


class ItemReference(Part):
    """An item of an earlier response, by its id."""

    type: Literal["item_reference"] = "item_reference"
    id: str


def _kind(given: Any) -> str:
    """The type of an item; messages and references come without one."""
    if not isinstance(given, dict):
        return str(getattr(given, "type", type(given).__name__))
    return str(given.get("type") or ("message" if "role" in given else "item_reference"))


KINDS = "message, function_call, function_call_output, reasoning and item_reference"
InputItem = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[FunctionCallItem, Tag("function_call")]
    | Annotated[FunctionOutputItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")]
    | Annotated[ItemReference, Tag("item_reference")],
    Discriminator(
        _kind,
        custom_error_type="unknown_item",
        custom_error_message=f"Items taken here are {KINDS}",
    ),
]


def _as_list(given: Any) -> Any:
    if not isinstance(given, str | list):
        raise PydanticCustomError("wrong_kind", "Input should be a string or a list of items")
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


Input = Annotated[
    list[InputItem], BeforeValidator(_as_list, json_schema_input_type=str | list[InputItem])
]


def output_text(text: str) -> Json:
    """A text part of an answer."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def function_call(call_id: str, name: str, arguments: str) -> Json:
    """A call of a function."""
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def kept_items(
    response_id: str, given: Sequence[Any], find: Callable[[str], Json | None]
) -> list[Json]:
    """What was given as it is kept: whole, each with an id, references resolved by `find`."""
    return [_kept(response_id, i, item, find) for i, item in enumerate(given)]


def _kept(response_id: str, index: int, item: Any, find: Callable[[str], Json | None]) -> Json:
    if not isinstance(item, ItemReference):
        prefix = {"message": "msg", "reasoning": "rs"}.get(item.type, "fc")
        return {"id": item.id or item_id(prefix, response_id, f"in{index}"), **item.kept()}
    found = find(item.id)
    if found is None:
        raise ApiError(
            404, f"There is no item {item.id!r}.", param=f"input.{index}.id", code="not_found"
        )
    return found


def item_id(prefix: str, response_id: str, place: int | str) -> str:
    """The id of an item, which tells the response that it belongs to."""
    return f"{prefix}_{response_id.removeprefix('resp_')}_{place}"


def response_of(item_id: str) -> str | None:
    """The response that an item's id tells."""
    found = ITEM_ID.fullmatch(plausible(item_id))
    return f"resp_{found[1]}" if found else None


def messages_of(items: Iterable[Json]) -> list[Message]:
    """The conversation that the items are, for the engine; reasoning is left out of it."""
    messages: list[Message] = []
    for item in items:
        if item["type"] == "message":
            messages.append({"role": item["role"], "content": "".join(_texts(item))})
        elif item["type"] == "function_call":
            _add_call(messages, item)
        elif item["type"] == "function_call_output":
            told = {"tool_call_id": item["call_id"], "content": item["output"]}
            messages.append({"role": "tool", **told})
    return messages


def _texts(item: Json) -> Iterator[str]:
    for part in item["content"]:
        yield part.get("text") or ""


def _add_call(messages: list[Message], item: Json) -> None:
    """Calls that follow each other, or a text of the model's, are one message with them."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": ""})
    function = CalledFunction(name=item["name"], arguments=item["arguments"])
    call = CalledTool(id=item["call_id"], type="function", function=function)
    calls = messages[-1].get("tool_calls", [])
    messages[-1] = {**messages[-1], "tool_calls": [*calls, call.as_message()]}
