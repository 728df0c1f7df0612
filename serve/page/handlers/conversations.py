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
            session.role = await self.client.role()
            session.consent = await self.client.consent()
        await self.know_reasons(session)
        return await self._open(session, given.text("conversation"))

    async def language(self, session: Session) -> Views:
        """Another language was chosen: everything is said again."""
        return self.chat(session), await self.list(session)

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
            session.notice = session.words("not_renamed", problem=error.said(session.words))
        return self.chat(session), await self.list(session)

    async def delete(self, session: Session, event: gr.EventData) -> Views:
        """Delete a conversation, until it is brought back; the open one gives way to a new chat."""
        given: Gesture = gesture(event)
        session.notice = ""
        try:
            await self.client.delete(given.text("id"))
            session.deleted = (given.text("id"), given.text("title"))
            if given.text("id") == session.conversation_id:
                session.show(None)
        except ApiError as error:
            session.notice = session.words("not_deleted", problem=error.said(session.words))
        return self.chat(session), await self.list(session)

    async def consent(self, session: Session, event: gr.EventData) -> View:
        """Let oneself be learned from, or not; what the record says is shown."""
        session.notice = ""
        try:
            await self.client.give_consent(gesture(event).number("given") == 1)
            session.consent = await self.client.consent()
        except ApiError as error:
            session.notice = session.words("not_saved", problem=error.said(session.words))
        return self.chat(session)

    async def restore(self, session: Session) -> Views:
        """Bring the conversation back that was deleted last, and open it."""
        wanted, session.deleted = session.deleted[0], ("", "")
        try:
            await self.client.restore(wanted)
        except ApiError as error:
            session.notice = session.words("not_restored", problem=error.said(session.words))
            return self.chat(session), await self.list(session)
        return await self._open(session, wanted)

    async def dismiss(self, session: Session) -> View:
        """The deletion was meant."""
        session.deleted = ("", "")
        return await self.list(session)

    async def _open(self, session: Session, conversation_id: str) -> Views:
        problem, conversation = "", None
        if session.stopped and conversation_id != session.conversation_id:
            with suppress(ApiError):  # noted, and never in the way
                await self.abandon(session.stopped)
        if conversation_id:
            try:
                conversation = await self.read(session, conversation_id)
            except ApiError as error:
                gone = error.status == 404
                problem = session.words("conversation_gone") if gone else error.said(session.words)
        session.show(conversation)
        session.notice = problem
        return self.chat(session), await self.list(session)
