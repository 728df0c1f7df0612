"""Tools for chat templates that know none: told in words, with calls as Hermes and Qwen write them.

A template of its own is what a model was trained on, so this is for the others alone. Whether such
a model calls at the right time is its own matter; a call that is demanded is held to its schema.
"""

import json
from collections.abc import Iterator, Sequence

from serve.engines.base import Message, Tool

SYSTEM = ("system", "developer")
TOLD = """You can call functions. To call one, answer with nothing but
<tool_call>
{"name": "its name", "arguments": {"its": "arguments"}}
</tool_call>
and you will be sent its result. The functions, with the JSON schemas of their arguments:
"""


def around_tools(message: Message) -> bool:
    """Whether it is a call or a result, which such a template would leave out."""
    return message["role"] == "tool" or bool(message.get("tool_calls"))


def in_words(messages: Sequence[Message], tools: Sequence[Tool]) -> list[Message]:
    """The conversation without anything but roles and text: the tools are in its system message."""
    plain = list(_plain(messages))
    if not tools:
        return plain
    told = TOLD + "\n".join(_json(tool["function"]) for tool in tools)
    if plain and plain[0]["role"] in SYSTEM:
        first = {**plain[0], "content": f"{plain[0]['content']}\n\n{told}"}
        return [first, *plain[1:]]
    return [{"role": "system", "content": told}, *plain]


def _plain(messages: Sequence[Message]) -> Iterator[Message]:
    """Results that follow each other are one message: many templates want roles in turn."""
    results: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            results.append(f"<tool_response>\n{message['content']}\n</tool_response>")
            continue
        if results:
            yield {"role": "user", "content": "\n".join(results)}
            results = []
        calls = [f"<tool_call>\n{_json(_called(c))}\n</tool_call>" for c in _calls(message)]
        said = "\n".join(filter(None, [message["content"], *calls]))
        yield {"role": message["role"], "content": said}
    if results:
        yield {"role": "user", "content": "\n".join(results)}


def _calls(message: Message) -> Sequence[Message]:
    return message.get("tool_calls") or ()


def _called(call: Message) -> Message:
    return {key: call["function"][key] for key in ("name", "arguments")}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
