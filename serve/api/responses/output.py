"""The items of an answer as they grow, and the events that tell of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from serve.api.responses.items import function_call, output_text

Json = dict[str, Any]


class Growing(Protocol):
    """An item under way: `text` is what is there of it."""

    id: str
    index: int  # among the answer's items
    text: str

    def item(self, status: str) -> Json:
        """The item as it is now."""

    def opened(self) -> Iterator[Json]:
        """The events of its beginning."""

    def grown(self, text: str, logprobs: list[Json]) -> Json:
        """Take new text in; returns the event."""

    def closed(self, status: str) -> Iterator[Json]:
        """The events of its end."""


@dataclass
class Message:
    """Text that the user is told."""

    id: str
    index: int
    text: str = ""
    logprobs: list[Json] = field(default_factory=list)

    def item(self, status: str) -> Json:
        told = {"id": self.id, "type": "message", "status": status, "role": "assistant"}
        return {**told, "content": [self._part()]}

    def opened(self) -> Iterator[Json]:
        item = {**self.item("in_progress"), "content": []}
        yield _item_event("added", self.index, item)
        yield self._event("response.content_part.added", part=output_text(""))

    def grown(self, text: str, logprobs: list[Json]) -> Json:
        self.text += text
        self.logprobs += logprobs
        return self._event("response.output_text.delta", delta=text, logprobs=logprobs)

    def closed(self, status: str) -> Iterator[Json]:
        text, logprobs = self.text, self.logprobs
        yield self._event("response.output_text.done", text=text, logprobs=logprobs)
        yield self._event("response.content_part.done", part=self._part())
        yield _item_event("done", self.index, self.item(status))

    def _part(self) -> Json:
        return {**output_text(self.text), "logprobs": list(self.logprobs)}

    def _event(self, kind: str, **values: Any) -> Json:
        return _part_event(kind, self.id, self.index, values)


@dataclass
class Reasoning:
    """What stands behind the answer, where it is written apart."""

    id: str
    index: int
    text: str = ""

    def item(self, status: str) -> Json:
        told = {"id": self.id, "type": "reasoning", "status": status, "summary": []}
        return {**told, "content": [self._part()]}

    def opened(self) -> Iterator[Json]:
        yield _item_event("added", self.index, {**self.item("in_progress"), "content": []})
        yield self._event("response.content_part.added", part=self._part())

    def grown(self, text: str, logprobs: list[Json]) -> Json:
        self.text += text
        return self._event("response.reasoning_text.delta", delta=text)

    def closed(self, status: str) -> Iterator[Json]:
        yield self._event("response.reasoning_text.done", text=self.text)
        yield self._event("response.content_part.done", part=self._part())
        yield _item_event("done", self.index, self.item(status))

    def _part(self) -> Json:
        return {"type": "reasoning_text", "text": self.text}

    def _event(self, kind: str, **values: Any) -> Json:
        return _part_event(kind, self.id, self.index, values)


@dataclass
class FunctionCall:
    """A function that the client is asked to call; its text is the arguments in JSON."""

    id: str
    index: int
    call_id: str
    name: str
    text: str = ""

    def item(self, status: str) -> Json:
        call = function_call(self.call_id, self.name, self.text)
        return {"id": self.id, **call, "status": status}

    def opened(self) -> Iterator[Json]:
        yield _item_event("added", self.index, self.item("in_progress"))

    def grown(self, text: str, logprobs: list[Json]) -> Json:
        self.text += text
        return self._event("response.function_call_arguments.delta", delta=text)

    def closed(self, status: str) -> Iterator[Json]:
        done = "response.function_call_arguments.done"
        yield self._event(done, arguments=self.text, name=self.name)
        yield _item_event("done", self.index, self.item(status))

    def _event(self, kind: str, **values: Any) -> Json:
        return {"type": kind, "item_id": self.id, "output_index": self.index, **values}


def _part_event(kind: str, item_id: str, index: int, values: Json) -> Json:
    where = {"item_id": item_id, "output_index": index, "content_index": 0}
    return {"type": kind, **where, **values}


def _item_event(what: str, index: int, item: Json) -> Json:
    return {"type": f"response.output_item.{what}", "output_index": index, "item": item}
