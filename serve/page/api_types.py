"""What the API tells the page, as frozen values that can be compared, hashed and rendered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

DELIMITER = "####"  # between a conclusion and its reasoning; the API's `stopped_by` names it


@dataclass(frozen=True)
class Completion:
    """One stored answer with the caller's feedback in force."""

    id: str
    text: str
    draft: int = 0
    adapter: str = ""
    finish_reason: str = ""
    stopped_by: str = ""
    reasoning: str | None = None  # None: not written, or not yet
    rating_id: str = ""
    rating: int = 0
    tags: tuple[str, ...] = ()  # why: keys of reasons, and what other clients sent
    comment: str = ""
    correction_id: str = ""
    correction: str = ""
    reasoning_rating_id: str = ""
    reasoning_rating: int = 0

    @property
    def shown_text(self) -> str:
        """The caller's own text where there is one: that is what the conversation goes on with."""
        return self.correction if self.correction_id else self.text.rstrip()

    @property
    def has_reasoning(self) -> bool:
        """Whether a reasoning is recorded, or can be asked for."""
        return self.reasoning is not None or self.stopped_by == DELIMITER


@dataclass(frozen=True)
class Turn:
    """One user message and its drafts; `chosen` is a completion id, "tie", "both_bad" or empty."""

    id: str
    query: str
    rewritten_query: str = ""
    completions: tuple[Completion, ...] = ()
    shown: tuple[str, ...] = ()
    chosen: str = ""
    comparison_id: str = ""
    rewrite_id: str = ""
    rewrite: str = ""  # the question as the caller says it was meant
    parent_id: str | None = None  # as in the record: "" begins anew, None was not said

    @property
    def understood(self) -> str:
        """The question as it was answered, or as the caller mended it; empty when it is `query`."""
        return self.rewrite or other_than(self.query, self.rewritten_query)


@dataclass(frozen=True)
class Conversation:
    id: str
    title: str = ""
    turns: tuple[Turn, ...] = ()

    def completion(self, completion_id: str) -> Completion | None:
        """The completion with this id, None when it is not in this conversation."""
        found = (c for turn in self.turns for c in turn.completions if c.id == completion_id)
        return next(found, None)

    def turn(self, turn_id: str) -> Turn | None:
        """The turn with this id, None when it is not in this conversation."""
        return next((turn for turn in self.turns if turn.id == turn_id), None)


@dataclass(frozen=True)
class Reason:
    """A key that says why a thumb went up (`value` 1) or down (-1), with its name by language."""

    key: str
    value: int
    labels: tuple[tuple[str, str], ...] = ()

    def label(self, language: str) -> str:
        """Its name in the language, else in any, else the key."""
        known = dict(self.labels)
        return known.get(language) or next(iter(known.values()), self.key)


@dataclass(frozen=True)
class Rating:
    """A thumb to be given: up (1) or down (-1), of a `part` alone where one is named, and why."""

    completion_id: str
    value: int
    part: str = ""
    tags: tuple[str, ...] = ()
    comment: str = ""


@dataclass(frozen=True)
class Summary:
    """One line of the conversation list; `updated` is in UTC."""

    id: str
    title: str
    updated: datetime


@dataclass(frozen=True)
class Started:
    """The ids of a turn in progress: the first thing a stream says."""

    conversation_id: str
    turn_id: str
    completion_ids: tuple[str, ...] = ()
    adapter: str = ""
    rewritten_query: str = ""


@dataclass(frozen=True)
class Delta:
    """New text of one draft: of its answer, or of the reasoning behind it."""

    draft: int
    text: str
    reasoning: bool = False


def other_than(query: str, rewritten: str) -> str:
    """The rewritten query where it says another thing than the query, else nothing."""
    same = rewritten.strip().casefold() == query.strip().casefold()
    return "" if same else rewritten.strip()


def parse_conversation(data: dict[str, Any]) -> Conversation:
    """`GET /v1/conversations/{id}` as a value."""
    turns = tuple(_turn(turn) for turn in data.get("turns") or [])
    return Conversation(str(data["id"]), str(data.get("title") or ""), turns)


def parse_summary(data: dict[str, Any]) -> Summary:
    """One entry of `GET /v1/conversations` as a value."""
    stamp = data.get("updated_at") or data.get("created_at")
    return Summary(str(data["id"]), str(data.get("title") or ""), parse_time(stamp))


def parse_reason(data: dict[str, Any]) -> Reason:
    """One entry of `GET /v1/feedback/reasons` as a value."""
    labels = tuple((str(code), str(name)) for code, name in (data.get("labels") or {}).items())
    return Reason(str(data["key"]), int(data["value"]), labels)


def parse_time(stamp: Any) -> datetime:
    """Seconds since 1970 or an ISO text, as UTC; the epoch when there is none."""
    if isinstance(stamp, int | float):
        return datetime.fromtimestamp(stamp, UTC)
    if not stamp:
        return datetime.fromtimestamp(0, UTC)
    moment = datetime.fromisoformat(str(stamp).replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _turn(data: dict[str, Any]) -> Turn:
    comparison, rewrite = data.get("comparison") or {}, data.get("rewrite") or {}
    return Turn(
        id=str(data["id"]),
        query=str(data.get("query") or ""),
        rewritten_query=str(data.get("rewritten_query") or ""),
        parent_id=data.get("parent_turn_id"),
        completions=tuple(_completion(c) for c in data.get("completions") or []),
        shown=tuple(str(shown) for shown in comparison.get("shown") or ()),
        chosen=str(comparison.get("chosen") or ""),
        comparison_id=str(comparison.get("id") or ""),
        rewrite_id=str(rewrite.get("id") or ""),
        rewrite=str(rewrite.get("text") or ""),
    )


def _completion(data: dict[str, Any]) -> Completion:
    rating, correction = data.get("rating") or {}, data.get("correction") or {}
    reasoning, thought = data.get("reasoning"), data.get("reasoning_rating") or {}
    return Completion(
        id=str(data["id"]),
        text=str(data.get("text") or ""),
        draft=int(data.get("draft") or 0),
        adapter=str(data.get("adapter") or "base"),
        finish_reason=str(data.get("finish_reason") or ""),
        stopped_by=str(data.get("stopped_by") or ""),
        reasoning=None if reasoning is None else str(reasoning),
        rating_id=str(rating.get("id") or ""),
        rating=int(rating.get("value") or 0),
        tags=tuple(str(tag) for tag in rating.get("tags") or ()),
        comment=str(rating.get("comment") or ""),
        correction_id=str(correction.get("id") or ""),
        correction=str(correction.get("text") or ""),
        reasoning_rating_id=str(thought.get("id") or ""),
        reasoning_rating=int(thought.get("value") or 0),
    )
