"""One answer as it grows, and the turn it belongs to."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from feedback.tables import Conversation, User
from prompts import Prompt
from prompts.answer_first import DELIMITER
from serve.engines.base import BASE, Chunk, Message, Sampling, Tool
from serve.engines.text import StopText
from serve.turn.tools import CallReader, ToolCall, Tools

Reasoning = Literal["off", "on_demand", "always", "never"]


@dataclass(frozen=True)
class Question:
    """What a client asks: its whole history, last the user's newest message or a tool's result."""

    user: User
    messages: Sequence[Message]
    sampling: Sampling
    conversation_id: str | None = None
    parent_id: str | None = None  # the turn that it goes on from; "": none; None: not said
    adapter: str | None = None  # None: the one in service
    reasoning: Reasoning = "off"
    truncate: bool = True
    tools: Tools | None = None
    asked: float = field(default_factory=time.monotonic)

    @property
    def offered(self) -> tuple[Tool, ...]:
        """The tools that the model is told of."""
        return self.tools.offered if self.tools else ()

    @property
    def query(self) -> str:
        return str(self.messages[-1]["content"])

    @property
    def stops_at_delimiter(self) -> bool:
        return self.reasoning in ("on_demand", "never")


@dataclass(frozen=True)
class Piece:
    """New text of one draft: of the conclusion, or of the reasoning after the delimiter."""

    draft: int
    text: str = ""
    reasoning: str = ""
    chunk: Chunk | None = None

    @property
    def more(self) -> bool:
        """Whether another piece is at hand already."""
        return self.chunk is not None and self.chunk.more


@dataclass
class Draft:
    """One completion under way.

    `split` cuts the text at the delimiter while it streams, `reader` takes the calls out of it.
    """

    completion_id: str
    split: StopText | None = None
    reader: CallReader | None = None
    tool_calls: list[ToolCall] = field(default_factory=list)
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top_logprobs: list[Any] = field(default_factory=list)
    finish_reason: str | None = None
    stopped_by: str | None = None
    private: bool = False
    cached: int = 0  # tokens of the prompt that the engine did not read for this draft

    @property
    def known_ids(self) -> list[int] | None:
        """The base model's tokens; None where the engine does not know them."""
        return None if self.private else self.token_ids

    @property
    def known_logprobs(self) -> list[float] | None:
        """The sampler's, one per token; None where the engine does not know them all."""
        whole = not self.private and len(self.logprobs) == len(self.token_ids)
        return self.logprobs if whole else None

    @property
    def reasoning(self) -> str:
        return self.split.after if self.split else ""

    @property
    def written(self) -> str:
        """The text with the calls in it, as the model wrote it."""
        return self.reader.raw if self.reader and self.tool_calls else self.text

    def add(self, chunk: Chunk) -> Piece:
        """Take a chunk in; returns what is new to show."""
        self.token_ids += chunk.token_ids
        self.logprobs += chunk.logprobs
        self.top_logprobs += chunk.top_logprobs
        self.private = self.private or chunk.private
        self.cached += chunk.cached
        self.finish_reason = chunk.finish_reason or self.finish_reason
        self.stopped_by = chunk.stopped_by or self.stopped_by
        text, reasoned = chunk.text, len(self.reasoning)
        if self.split:
            text = self.split.push(chunk.text)
            if chunk.finish_reason:
                text += self.split.finish()
        if self.reader:
            text = self._read(self.reader, text, chunk.finish_reason is not None)
        self.text += text
        return Piece(chunk.draft, text, self.reasoning[reasoned:], chunk)

    def _read(self, reader: CallReader, text: str, ended: bool) -> str:
        shown = reader.push(text)
        if ended:
            rest, self.tool_calls = reader.finish()
            shown += rest
            if self.tool_calls:
                self.finish_reason = "tool_calls"
        return shown


@dataclass
class Turn:
    """A user message being answered."""

    id: str
    conversation_id: str
    question: Question
    rewritten_query: str
    prompt: Prompt
    drafts: list[Draft]
    prompt_ids: list[int]
    adapter: str = BASE
    conversation: Conversation | None = None  # once the question is recorded

    @property
    def completion_tokens(self) -> int:
        return sum(len(draft.token_ids) for draft in self.drafts)

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prompt that the engine found in its cache."""
        return sum(draft.cached for draft in self.drafts)

    def describe(self) -> dict[str, Any]:
        """The `redraft` object of an answer."""
        return {
            "conversation_id": self.conversation_id,
            "turn_id": self.id,
            "completion_ids": [draft.completion_id for draft in self.drafts],
            "adapter": self.adapter,
            "query": self.question.query,
            "rewritten_query": self.rewritten_query,
            "reasoning": self._reasoning(),
        }

    def _reasoning(self) -> dict[str, Any]:
        """Whether a reasoning can be had, and where: of the first draft that stopped for one."""
        for draft in self.drafts:
            if self.question.reasoning == "on_demand" and draft.stopped_by == DELIMITER:
                return {"available": True, "continue_url": continue_url(draft.completion_id)}
        return {"available": False, "continue_url": None}


def continue_url(completion_id: str) -> str:
    """Where the reasoning of a completion is streamed from."""
    return f"/v1/chat/completions/{completion_id}/reasoning"
