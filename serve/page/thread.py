"""A conversation as a person sees it: one path through its turns, which form a tree.

A question asked again adds an answer in its place, a question put otherwise adds a version; what
follows belongs to the answer that it went on from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serve.page.api_types import Completion, Conversation, Turn

START = ""  # the parent of turns that begin a conversation


@dataclass(frozen=True)
class Exchange:
    """A question and the turns that answer it: asking the same again adds a turn, not a bubble."""

    turns: tuple[Turn, ...]
    parent: str = START  # the turn that these go on from
    versions: tuple[str, ...] = ()  # keys of the exchanges that could stand here, this one's too
    latest: str = ""  # the turn of these in which the conversation went on last

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
        """The turn that stands, when its drafts still wait for a verdict."""
        last = self._standing
        return last if len(written(last)) > 1 and not last.chosen else None

    @property
    def _standing(self) -> Turn:
        return next((turn for turn in self.turns if turn.id == self.latest), self.turns[-1])

    def turn(self, answer: Completion | None) -> Turn:
        """The turn that an answer belongs to; without one the turn that stands."""
        found = (turn for turn in self.turns if answer in turn.completions)
        return next(found, self._standing)

    def answer(self, completion_id: str = "") -> Completion | None:
        """The answer with this id, else the one that stands: the picked or the first shown."""
        wanted = next((c for c in self.answers if c.id == completion_id), None)
        return wanted or _first((self._standing, *reversed(self.turns)))


def exchanges(
    conversation: Conversation | None,
    chosen: Mapping[str, str] | None = None,
    versions: Mapping[str, str] | None = None,
) -> list[Exchange]:
    """The path that is shown: by default to the newest turn.

    `chosen` has the answer leafed to by exchange, `versions` the exchange leafed to by parent.
    """
    parents = _parents(conversation.turns if conversation else ())
    children: dict[str, list[Turn]] = {}
    for turn in conversation.turns if conversation else ():
        children.setdefault(parents[turn.id], []).append(turn)
    age, path, parent = _ages(parents), [], START
    while followers := children.get(parent):
        wanted = (versions or {}).get(parent, "")
        exchange = _exchange(followers, parent, wanted, age)
        path.append(exchange)
        parent = exchange.turn(exchange.answer((chosen or {}).get(exchange.key, ""))).id
    return path


def goes_on_from(past: Sequence[Exchange], chosen: Mapping[str, str]) -> str:
    """The turn that the next question goes on from."""
    if not past:
        return START
    return past[-1].turn(past[-1].answer(chosen.get(past[-1].key, ""))).id


def history(past: Sequence[Exchange], chosen: Mapping[str, str]) -> list[dict[str, str]]:
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


def _parents(turns: Sequence[Turn]) -> dict[str, str]:
    """The parent of each turn. Where no client said: the turn before, beside one that asks alike.

    A parent is always an earlier turn, so there are no circles.
    """
    parents: dict[str, str] = {}
    last: Turn | None = None
    for turn in turns:
        if turn.parent_id is not None:
            parents[turn.id] = turn.parent_id if turn.parent_id in parents else START
        elif last is None:
            parents[turn.id] = START
        else:
            parents[turn.id] = parents[last.id] if last.query == turn.query else last.id
        last = turn
    return parents


def _ages(parents: Mapping[str, str]) -> dict[str, int]:
    """For each turn the place of the newest turn that goes on from it, or its own."""
    places = {turn: place for place, turn in enumerate(parents)}
    for turn in reversed(places):
        if parents[turn] in places:
            places[parents[turn]] = max(places[parents[turn]], places[turn])
    return places


def _exchange(
    followers: Sequence[Turn], parent: str, wanted: str, age: Mapping[str, int]
) -> Exchange:
    """Of the turns after a parent those with one question: the wanted, else the newest version."""
    asked: dict[str, list[Turn]] = {}
    for turn in followers:
        asked.setdefault(turn.query, []).append(turn)
    newest = max(followers, key=lambda turn: age[turn.id])
    turns = next((group for group in asked.values() if group[0].id == wanted), asked[newest.query])
    latest = max(turns, key=lambda turn: age[turn.id])
    return Exchange(tuple(turns), parent, tuple(g[0].id for g in asked.values()), latest.id)


def _first(turns: Sequence[Turn]) -> Completion | None:
    for turn in turns:
        drafts = in_order(turn)
        picked = next((c for c in drafts if c.id == turn.chosen), None)
        if drafts:
            return picked or drafts[0]
    return None


def _position(shown: tuple[str, ...], completion_id: str) -> int:
    return shown.index(completion_id) if completion_id in shown else len(shown)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
