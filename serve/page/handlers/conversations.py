"""Moving among conversations: open, new, search, rename, delete."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import gradio as gr

from serve.page.client import ApiError
from serve.page.handlers.base import Gesture, Handlers, gesture
from serve.page.session import Session
from serve.page.views import View

Views = tuple[View, View]  # (thread, conversation list)
_PAGE = 50
_LONGEST_TITLE = 200


class Conversations(Handlers):
    """Handlers of the conversation list."""

    async def hello(self, session: Session, event: gr.EventData) -> Views:
        """A tab was opened or reloaded; it names the conversation in its address, if any."""
        given = gesture(event)
        session.utc_offset = max(-900, min(900, given.number("utc_offset")))
        with suppress(ApiError):  # what is wrong is told by the calls that follow
            session.who = await self.client.who()
        return await self._open(session, given.text("conversation"))

    async def open(self, session: Session, event: gr.EventData) -> Views:
        """Show another conversation."""
        return await self._open(session, gesture(event).text("id"))

    async def fresh(self, session: Session) -> Views:
        """A new chat."""
        return await self._open(session, "")

    async def search(self, session: Session, event: gr.EventData) -> View:
        """Filter the list."""
        session.search, session.limit = gesture(event).text("text").strip(), _PAGE
        return await self.list(session)

    async def more(self, session: Session) -> View:
        """A longer list."""
        session.limit += _PAGE
        return await self.list(session)

    async def retry(self, session: Session, event: gr.EventData) -> tuple[Any, View]:
        """The list could not be read before; nor, then, the conversation that the tab asked for."""
        wanted, found = gesture(event).text("conversation"), await self.list(session)
        if found["problem"] or session.conversation or session.live or not wanted:
            return gr.skip(), found
        return await self._open(session, wanted)

    async def rename(self, session: Session, event: gr.EventData) -> Views:
        """Give a conversation another title; an empty one changes nothing."""
        given = gesture(event)
        title = " ".join(given.text("text").split())[:_LONGEST_TITLE]
        session.notice = ""
        try:
            if title:
                await self.client.rename(given.text("id"), title)
            if given.text("id") == session.conversation_id and not session.live:
                await self.reload(session)
        except ApiError as error:
            session.notice = f"Not renamed. {error}"
        return self.chat(session), await self.list(session)

    async def delete(self, session: Session, event: gr.EventData) -> Views:
        """Delete a conversation; the open one gives way to a new chat."""
        given: Gesture = gesture(event)
        session.notice = ""
        try:
            await self.client.delete(given.text("id"))
            if given.text("id") == session.conversation_id:
                session.show(None)
        except ApiError as error:
            session.notice = f"Not deleted. {error}"
        return self.chat(session), await self.list(session)

    async def _open(self, session: Session, conversation_id: str) -> Views:
        problem, conversation = "", None
        if conversation_id:
            try:
                conversation = await self.client.conversation(conversation_id)
            except ApiError as error:
                problem = "This conversation is gone." if error.status == 404 else str(error)
        session.show(conversation)
        session.notice = problem
        return self.chat(session), await self.list(session)
