"""Show reasoning: under an answer that gave its conclusion first, asked for only when wanted."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace

import gradio as gr

from serve.page.api_types import Completion
from serve.page.client import ApiError
from serve.page.handlers.base import Handlers, completion_of, gesture
from serve.page.session import FOLDED, Session, Thought
from serve.page.views import View

_TICK = 0.07  # seconds between two updates of a streaming text, about 14 a second

Views = AsyncGenerator[View, None]


class Reasoning(Handlers):
    """Handlers of the block below a conclusion."""

    async def reason(self, session: Session, event: gr.EventData) -> Views:
        """Show the reasoning: from the record, or as it is written now."""
        given = gesture(event)
        thought = session.thoughts.get(given.text("completion"), FOLDED)
        if thought.running:
            yield self._set(session, given.text("completion"), replace(thought, open=True))
            return
        try:
            await self.sync(session, given)
            completion = completion_of(session, given)
        except ApiError as error:
            session.notice = error.said(session.words)
            yield self.chat(session)
            return
        if completion.reasoning is not None:
            yield self._set(session, completion.id, Thought(text=completion.reasoning))
            return
        async with aclosing(self._written(session, completion)) as views:
            async for view in views:
                yield view

    async def fold(self, session: Session, event: gr.EventData) -> View:
        """Hide it; what is being written is written to its end, so that it is there next time."""
        completion_id = gesture(event).text("completion")
        if thought := session.thoughts.get(completion_id):
            session.thoughts[completion_id] = replace(thought, open=False)
        return self.chat(session)

    async def _written(self, session: Session, completion: Completion) -> Views:
        view, id = session.view, completion.id
        text, problem, due = "", session.words("reasoning_broke_off"), 0.0
        yield self._set(session, id, Thought(running=True))
        try:
            async with aclosing(self.client.reasoning(id)) as texts:
                async for new in texts:
                    if session.view != view:  # left for another conversation: the engine may rest
                        return
                    text += new
                    if (began := time.monotonic()) >= due:
                        yield self._set(session, id, replace(session.thoughts[id], text=text))
                        due = began + max(_TICK, 5 * (time.monotonic() - began))
            problem = ""
        except ApiError as error:
            problem = error.said(session.words)
        finally:
            if session.view == view:
                session.thoughts[id] = Thought(session.thoughts[id].open, False, text, problem)
        if session.view == view:
            yield self.chat(session)
            with suppress(ApiError):  # the text is on the page; the record is read again later
                await self.reload(session)
            yield self.chat(session)  # it is recorded now, so it can be judged

    def _set(self, session: Session, id: str, thought: Thought) -> View:
        session.thoughts[id] = thought
        return self.chat(session)
