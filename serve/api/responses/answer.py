"""A response as its turn is written: the resource, the events, and when it is kept."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any, cast

from serve.api.errors import error_body
from serve.api.logprobs import token_logprobs
from serve.api.responses.items import item_id
from serve.api.responses.output import FunctionCall, Growing, Message, Reasoning
from serve.api.responses.resource import usage
from serve.engines.base import QUIET, Chunk, Engine, EngineError
from serve.turn.draft import Piece, Turn
from serve.turn.tools import ToolCall

Json = dict[str, Any]
Keep = Callable[[Json], None]
NOTHING: Json = {}  # in place of an event, when nothing came for a while


class Answer:
    """One response under way; `problem` is what broke it, `keep` stores what it has become."""

    def __init__(
        self, engine: Engine, turn: Turn, resource: Json, logprobs: bool, keep: Keep
    ) -> None:
        self.turn = turn
        self.problem: Exception | None = None
        self._engine, self._asked, self._keep = engine, resource, keep
        self._with_logprobs = logprobs
        self._items: list[Growing] = []
        self._closed: list[str] = []  # the statuses of the first items, which are whole
        self._changed: Json = {"status": resource["status"]}
        self._text, self._logprobs = "", list[Json]()  # not told yet
        self._number = 0

    @property
    def id(self) -> str:
        return str(self._asked["id"])

    @property
    def resource(self) -> Json:
        """The response object as it is now."""
        output = {"output": self._output(), "redraft": self.turn.describe()}
        return {**self._asked, **output, **self._changed}

    def events(self, pieces: Iterator[Piece]) -> Generator[Json]:
        """Every event in order; what has become of the response is kept before the last one.

        Closed early, it is kept as cancelled; when the engine breaks, as failed. While the engine
        says nothing there is NOTHING, so that whoever reads may give up.
        """
        try:
            yield self._told("created")
            if self._changed["status"] == "queued":
                yield self._told("queued")
                self._changed = {"status": "in_progress"}
            yield self._told("in_progress")
            yield from self._written(pieces)
        except GeneratorExit:
            self._end("cancelled", usage=self._usage())
            raise
        except Exception as error:
            self.problem = error
            message = error_body(error)[0]["error"]["message"]
            self._end("failed", error={"code": "server_error", "message": message})
        yield self._told(self._changed["status"])

    def _written(self, pieces: Iterator[Piece]) -> Iterator[Json]:
        with closing(cast("Generator[Piece]", pieces)):
            for piece in pieces:
                if piece.chunk is QUIET:
                    yield NOTHING
                yield from self._grown(piece)
        draft = self.turn.drafts[0]
        if draft.finish_reason == "interrupted":
            raise EngineError(f"Engine {self._engine.name} broke off its answer. Ask again.")
        if draft.tool_calls:
            self._text, self._logprobs = "", []  # blanks, and what the calls were written with
        elif self._text or not self._items or self._is_last(Message):
            yield from self._say()
        for call in draft.tool_calls:
            yield from self._call(call)
        status = "incomplete" if draft.finish_reason == "length" else "completed"
        yield from self._close(status)
        if status == "completed":
            self._end(status, usage=self._usage(), completed_at=int(time.time()))
        else:
            why = {"reason": "max_output_tokens"}
            self._end(status, usage=self._usage(), incomplete_details=why)

    def _grown(self, piece: Piece) -> Iterator[Json]:
        self._text += piece.text
        self._logprobs += self._logprobs_of(piece.chunk)
        # Blanks before a call are nothing said.
        if self._text.strip() or (self._text and self._is_last(Message)):
            yield from self._say()
        if piece.reasoning:
            if not self._is_last(Reasoning):
                yield from self._open(Reasoning(*self._next("rs")))
            yield self._numbered(self._items[-1].grown(piece.reasoning, []))

    def _say(self) -> Iterator[Json]:
        """Tell the text that has come."""
        if not self._is_last(Message):
            yield from self._open(Message(*self._next("msg")))
        if self._text or self._logprobs:
            yield self._numbered(self._items[-1].grown(self._text, self._logprobs))
        self._text, self._logprobs = "", []

    def _call(self, call: ToolCall) -> Iterator[Json]:
        yield from self._open(FunctionCall(*self._next("fc"), call.id, call.name))
        yield self._numbered(self._items[-1].grown(call.arguments, []))

    def _is_last(self, kind: type) -> bool:
        return bool(self._items) and isinstance(self._items[-1], kind)

    def _next(self, prefix: str) -> tuple[str, int]:
        """The id and the place of the next item."""
        return item_id(prefix, self.id, len(self._items)), len(self._items)

    def _open(self, item: Growing) -> Iterator[Json]:
        """Begin an item, and end the one before."""
        yield from self._close("completed")
        self._items.append(item)
        yield from map(self._numbered, item.opened())

    def _close(self, status: str) -> Iterator[Json]:
        """End the item that is open."""
        if len(self._closed) < len(self._items):
            self._closed.append(status)
            yield from map(self._numbered, self._items[-1].closed(status))

    def _output(self) -> list[Json]:
        going_on = self._changed["status"] in ("queued", "in_progress")
        last = "in_progress" if going_on else "incomplete"
        return [
            item.item(self._closed[i] if i < len(self._closed) else last)
            for i, item in enumerate(self._items)
        ]

    def _end(self, status: str, **changed: Any) -> None:
        self._changed = {"status": status, **changed}
        self._keep(self.resource)

    def _logprobs_of(self, chunk: Chunk | None) -> list[Json]:
        if not self._with_logprobs or chunk is None:
            return []
        return token_logprobs(self._engine, chunk.token_ids, chunk.logprobs, chunk.top_logprobs)

    def _usage(self) -> Json:
        reasoning = sum(len(self._engine.encode(draft.reasoning)) for draft in self.turn.drafts)
        completion = self.turn.completion_tokens
        read, cached = len(self.turn.prompt_ids), self.turn.cached_tokens
        return usage(read, completion, min(reasoning, completion), cached)

    def _told(self, what: str) -> Json:
        return self._numbered({"type": f"response.{what}", "response": self.resource})

    def _numbered(self, event: Json) -> Json:
        numbered = {**event, "sequence_number": self._number}
        self._number += 1
        return numbered
