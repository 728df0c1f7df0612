"""What all handlers share: the client, the answer to the browser, and trust in ids only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from serve.page.api_types import Completion, Conversation, Turn
from serve.page.client import ApiError, Client, PageError
from serve.page.render import draw_long
from serve.page.session import Session
from serve.page.views import View, chat_view, list_view


@dataclass(frozen=True)
class Gesture:
    """What the browser sent with an event. Only ids and the person's own text are read from it."""

    data: dict[str, Any]

    def text(self, name: str) -> str:
        value = self.data.get(name)
        return value if isinstance(value, str) else ""

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.data.get(name)
        return tuple(filter(lambda one: isinstance(one, str), value if type(value) is list else ()))

    def number(self, name: str, default: int = 0) -> int:
        value = self.data.get(name)
        return value if type(value) is int else default


def gesture(event: Any) -> Gesture:
    """The payload of a Gradio event, empty when it has none."""
    data = getattr(event, "_data", None)
    return Gesture(data if isinstance(data, dict) else {})


@dataclass(frozen=True)
class Handlers:
    """Base of the handlers: they hold no state, everything of a tab is in its Session."""

    client: Client
    examples: Sequence[str]

    def chat(self, session: Session) -> View:
        """The thread as it is now."""
        return chat_view(session, self.examples)

    async def list(self, session: Session) -> View:
        """The conversation list as the API has it now."""
        try:
            found, more = await self.client.conversations(session.search, session.limit)
        except ApiError as error:
            return list_view(session, [], False, error.said(session.words))
        return list_view(session, found, more)

    async def read(self, session: Session, conversation_id: str) -> Conversation:
        """A conversation of the record, its long texts drawn beside the loop that serves all."""
        found = await self.client.conversation(conversation_id)
        await asyncio.to_thread(draw_long, found, session.words)
        return found

    async def sync(self, session: Session, given: Gesture) -> None:
        """Be in the conversation that the tab shows, also after a restart of this process."""
        wanted = given.text("conversation")
        if wanted and wanted != session.conversation_id:
            session.show(await self.read(session, wanted))

    async def abandon(self, completion_id: str) -> None:
        """Note that the person stopped an answer and went away: once, however often it is told."""
        await self.client.did("abandoned", completion_id, f"page-abandoned-{completion_id}")

    async def know_reasons(self, session: Session) -> None:
        """Have what a thumb can be explained with, once a tab; without it there is the comment."""
        if not session.reasons:
            with suppress(ApiError):
                session.reasons = await self.client.reasons()

    async def reload(self, session: Session) -> None:
        """Take the conversation anew from the record."""
        view = session.view
        if session.conversation_id:
            found = await self.read(session, session.conversation_id)
            if session.view == view:  # nobody turned to another one meanwhile
                session.conversation = found


def completion_of(session: Session, given: Gesture) -> Completion:
    """The completion a gesture is about; raises ApiError for one outside this conversation."""
    known = session.conversation
    found = known.completion(given.text("completion")) if known else None
    if found is None:
        raise PageError("answer_not_here")
    return found


def turn_of(session: Session, given: Gesture) -> Turn:
    """The turn a gesture is about; raises ApiError for one outside this conversation."""
    found = session.conversation.turn(given.text("turn")) if session.conversation else None
    if found is None:
        raise PageError("turn_not_here")
    return found
