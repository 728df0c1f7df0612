"""Asking: send, try again, answer again, two drafts, stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import gradio as gr

from serve.page.api_types import Started
from serve.page.client import ApiError
from serve.page.handlers.base import Gesture, Handlers, gesture
from serve.page.session import Live, Session, Thought
from serve.page.thread import exchanges, history
from serve.page.views import View

_TICK = 0.07  # seconds between two updates of a streaming answer, about 14 a second
_RECORDED = (0.0, 0.1, 0.2, 0.4, 0.8, 1.5)  # waits for a stopped turn to be in the record

Updates = AsyncGenerator[tuple[Any, Any], None]  # (thread, conversation list)


class Answers(Handlers):
    """Handlers that make the model write."""

    async def send(self, session: Session, event: gr.EventData) -> Updates:
        """A new question; `drafts` of the gesture is 1 or 2."""
        given = gesture(event)
        query = given.text("text").strip()
        if not query or (session.live and session.live.running):
            session.finish(given.text("gesture"), "An answer is being written. Stop it first.")
            yield self.chat(session), gr.skip()
            return
        async with aclosing(self._ask(session, given, query, given.number("drafts"))) as updates:
            async for update in updates:
                yield update

    async def again(self, session: Session, event: gr.EventData) -> Updates:
        """Try once more what failed or was stopped."""
        given, live = gesture(event), session.live
        past = exchanges(session.conversation)
        if (live and live.running) or not (live or past):
            return
        plan = (live.query, live.drafts, live.past) if live else (past[-1].query, 1, len(past) - 1)
        async with aclosing(self._ask(session, given, *plan)) as updates:
            async for update in updates:
                yield update

    async def regenerate(self, session: Session, event: gr.EventData) -> Updates:
        """Answer the newest question again, with one draft or with two to compare."""
        given = gesture(event)
        if session.live and session.live.running:
            return
        with suppress(ApiError):
            await self.sync(session, given)
        past = exchanges(session.conversation)
        if not past:
            return
        plan = (past[-1].query, given.number("drafts"), len(past) - 1)
        async with aclosing(self._ask(session, given, *plan)) as updates:
            async for update in updates:
                yield update

    async def stop(self, session: Session) -> None:
        """End the answer in progress; its own handler keeps what was written."""
        if session.live:
            session.live.stop.set()

    async def _ask(
        self, session: Session, given: Gesture, query: str, drafts: int, place: int | None = None
    ) -> Updates:
        """Write an answer as exchange number `place`, a new one when None."""
        try:
            await self.sync(session, given)
        except ApiError as error:
            session.finish(given.text("gesture"), str(error))
            yield self.chat(session), gr.skip()
            return
        past = len(exchanges(session.conversation))
        place = past if place is None else min(place, past)
        live = session.live = Live(query, max(1, min(drafts, 2)), place)
        session.finish(given.text("gesture"))
        yield self.chat(session), gr.skip()
        listed = bool(session.conversation)
        async with aclosing(self._written(session, live)) as views:
            async for view in views:
                new = not listed and live.started is not None and session.live is live
                listed = listed or new
                yield view, await self.list(session) if new else gr.skip()
        if session.live is live or session.live is None:
            yield self.chat(session), await self.list(session)

    async def _written(self, session: Session, live: Live) -> AsyncGenerator[View, None]:
        """The thread at each tick, until the answer ended, broke off or was stopped."""
        writing = asyncio.create_task(self._write(session, live))
        stopping = asyncio.create_task(live.stop.wait())
        try:
            while not writing.done() and not live.stop.is_set():
                await asyncio.wait(
                    {writing, stopping}, timeout=_TICK, return_when="FIRST_COMPLETED"
                )
                if live.changed and session.live is live and live.running:
                    live.changed = False
                    began = time.monotonic()
                    yield self.chat(session)
                    await asyncio.sleep(min(0.5, 4 * (time.monotonic() - began)))
            if not writing.done():  # stopped
                writing.cancel()
                live.stopped = True
                if session.live is live:
                    yield self.chat(session)
            await self._end(session, live, writing)
        finally:  # a closed tab ends here: the engine must not write on
            writing.cancel()
            stopping.cancel()

    async def _write(self, session: Session, live: Live) -> None:
        past = exchanges(session.conversation)[: live.past]
        messages = [*history(past, session.chosen), {"role": "user", "content": live.query}]
        stream = self.client.stream(messages, live.drafts, session.conversation_id)
        async with aclosing(stream):
            async for event in stream:
                if isinstance(event, Started):
                    live.started = event
                elif event.draft < live.drafts:
                    (live.thoughts if event.reasoning else live.texts)[event.draft] += event.text
                live.changed = True

    async def _end(self, session: Session, live: Live, writing: asyncio.Task[None]) -> None:
        """Take over what the record holds of the turn, or say why there is nothing."""
        await asyncio.wait({writing})
        if not writing.cancelled() and (problem := writing.exception()):
            live.error = str(problem) if isinstance(problem, ApiError) else "The answer broke off."
        if session.live is live and live.started:
            try:
                await self._take_over(session, live, live.started)
            except ApiError as error:
                live.error = live.error or str(error)
        live.settled = True

    async def _take_over(self, session: Session, live: Live, started: Started) -> None:
        for wait in _RECORDED if live.stopped else (0.0,):
            await asyncio.sleep(wait)
            conversation = await self.client.conversation(started.conversation_id)
            if session.live is not live:
                return
            turn = conversation.turn(started.turn_id)
            if turn and turn.completions:
                break
        session.conversation = conversation
        if not live.error and turn and any(c.text.strip() for c in turn.completions):
            session.live = None
            for completion, seen in zip(turn.completions, live.thoughts, strict=False):
                if seen and completion.reasoning and live.drafts == 1:  # somebody is reading it
                    session.thoughts[completion.id] = Thought(text=completion.reasoning)
            for exchange in exchanges(conversation)[-1:]:
                session.chosen.pop(exchange.key, None)
