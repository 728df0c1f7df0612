"""Calls of tools: how an answer is held to them, and how they are read out of its text.

A model writes a call in the words of its chat template. Read here are those of Hermes and Qwen
(`<tool_call>{"name": …, "arguments": …}</tool_call>`) and of Llama 3 (an answer that is the JSON
object alone). A call that is demanded is held to the tools' schemas while it is drawn.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from feedback.fields import mended
from feedback.ids import new_id
from serve.engines.base import Tool
from serve.engines.text import StopText

OPEN, CLOSE = "<tool_call>", "</tool_call>"


@dataclass(frozen=True)
class ToolCall:
    """A call of a function; `arguments` is a JSON object as text."""

    id: str
    name: str
    arguments: str

    def as_dict(self) -> dict[str, Any]:
        """OpenAI's form."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function}


@dataclass(frozen=True)
class Tools:
    """What an answer may call; `demanded` where it has to call, `parallel` where more than once."""

    offered: tuple[Tool, ...]
    demanded: bool = False
    parallel: bool = True

    def schema(self) -> str:
        """The JSON schema of a demanded call."""
        functions = {tool["function"]["name"]: _parameters(tool) for tool in self.offered}
        calls = [_call_schema(name) for name in functions]
        whole = calls[0] if len(calls) == 1 else {"anyOf": calls}
        parts = {name: _moved(schema, f"#/$defs/{name}") for name, schema in functions.items()}
        return json.dumps({**whole, "$defs": parts})

    def names(self) -> set[str]:
        return {tool["function"]["name"] for tool in self.offered}


class CallReader:
    """Splits an answer, as it comes, into what is said and the calls that it makes."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._said = StopText([OPEN])
        self._held = ""  # an answer that begins as JSON is held back: it may be a call
        self._begun = False
        self.raw = ""

    def push(self, piece: str) -> str:
        """Add a piece; returns the text that is no call for certain."""
        self.raw += piece
        if self._tools.demanded:
            return ""
        self._held += piece
        if not self._begun and (not self._held.strip() or self._held.lstrip().startswith("{")):
            return ""
        self._begun = True
        text, self._held = self._held, ""
        return self._said.push(text)

    def finish(self) -> tuple[str, list[ToolCall]]:
        """(the rest of the text, the calls), when no more comes; what is no call is text."""
        calls = self._calls()
        if calls:
            return ("" if self._held else self._said.finish()), calls
        if self._tools.demanded:
            return self.raw, []
        unread = OPEN + self._said.after if self._said.stopped_by else ""
        return self._held or (self._said.finish() + unread), []

    def _calls(self) -> list[ToolCall]:
        whole = self.raw if self._tools.demanded else self._held
        texts = [whole] if whole else _between(self._said.after)
        read = [call for text in texts if (call := self._call(text)) is not None]
        return read if self._tools.parallel else read[:1]

    def _call(self, text: str) -> ToolCall | None:
        try:
            written = json.loads(text)
            name = written["name"]
            arguments = written.get("arguments", written.get("parameters"))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        if name not in self._tools.names() or not isinstance(arguments, dict):
            return None
        # A model may escape half of a surrogate pair, which no answer can be sent with.
        return ToolCall(new_id("call"), name, mended(json.dumps(arguments, ensure_ascii=False)))


def _between(text: str) -> list[str]:
    """What stands in the tags, of which the first one's beginning is gone."""
    return [part.partition(CLOSE)[0] for part in re.split(re.escape(OPEN), text)]


def _parameters(tool: Tool) -> dict[str, Any]:
    given: dict[str, Any] = tool["function"].get("parameters") or {}
    return {"type": "object", **given}


def _call_schema(name: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"name": {"const": name}, "arguments": {"$ref": f"#/$defs/{name}"}},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _moved(schema: Any, place: str) -> Any:
    """A schema whose references to parts of itself hold where it stands now."""
    if isinstance(schema, list):
        return [_moved(part, place) for part in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {key: _moved(part, place) for key, part in schema.items()}
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        moved["$ref"] = place + reference[1:]
    return moved
