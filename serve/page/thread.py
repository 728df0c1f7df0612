"""A conversation as a person sees it: one question, then the answers that were given to it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

from serve.page.api_types import Completion, Conversation, Turn


@dataclass(frozen=True)
class Exchange:
    """A question and the turns that answer it: asking the same again adds a turn, not a bubble."""

    turns: tuple[Turn, ...]

    @property
    def key(self) -> str:
        return self.turns[0].id

    @property
    def query(self) -> str:
        return self.turns[0].query

    @property
    def answers(self) -> tuple[Completion, ...]:
        """All answers, oldest turn first, the drafts of a turn in the order shown."""
        return tuple(c for turn in self.turns for c in in_order(turn))

    @property
    def undecided(self) -> Turn | None:
        """The newest turn, when its drafts still wait for a verdict."""
        last = self.turns[-1]
        return last if len(written(last)) > 1 and not last.chosen else None

    def turn(self, answer: Completion) -> Turn:
        """The turn that an answer belongs to."""
        return next(turn for turn in self.turns if answer in turn.completions)

    def answer(self, completion_id: str = "") -> Completion | None:
        """The answer with this id, else the one that stands: the picked or the first shown."""
        wanted = next((c for c in self.answers if c.id == completion_id), None)
        return wanted or _standing(self.turns)


def exchanges(conversation: Conversation | None) -> list[Exchange]:
    """The conversation's turns, neighbours with the same question together."""
    turns = conversation.turns if conversation else ()
    return [Exchange(tuple(group)) for _, group in groupby(turns, key=lambda turn: turn.query)]


def history(past: list[Exchange], chosen: Mapping[str, str]) -> list[dict[str, str]]:
    """The messages before the next question, as the page shows them."""
    messages: list[dict[str, str]] = []
    for exchange in past:
        answer = exchange.answer(chosen.get(exchange.key, ""))
        if answer and answer.shown_text:
            messages.append({"role": "user", "content": exchange.query})
            messages.append({"role": "assistant", "content": answer.shown_text})
    return messages


def in_order(turn: Turn) -> tuple[Completion, ...]:
    """The written drafts in the order shown: the recorded one, else a fair one from the turn's id.

    The order follows from the id, so it is the same while streaming and after a restart.
    """
    drafts = written(turn)
    if turn.shown:
        return tuple(sorted(drafts, key=lambda c: _position(turn.shown, c.id)))
    return tuple(sorted(drafts, key=lambda c: _digest(f"{turn.id}:{c.draft}")))


def draft_order(turn_id: str, drafts: int) -> list[int]:
    """A random but stable order of the draft numbers, decided by the turn's id."""
    return sorted(range(drafts), key=lambda draft: _digest(f"{turn_id}:{draft}"))


def written(turn: Turn) -> tuple[Completion, ...]:
    """The drafts that have text."""
    return tuple(c for c in turn.completions if c.text.strip())


def _standing(turns: tuple[Turn, ...]) -> Completion | None:
    for turn in reversed(turns):
        drafts = in_order(turn)
        picked = next((c for c in drafts if c.id == turn.chosen), None)
        if drafts:
            return picked or drafts[0]
    return None


def _position(shown: tuple[str, ...], completion_id: str) -> int:
    return shown.index(completion_id) if completion_id in shown else len(shown)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
