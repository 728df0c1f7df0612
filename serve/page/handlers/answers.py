"""Asking: send, try again, answer again, put otherwise, two drafts, stop."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

import gradio as gr

from serve.page.api_types import Started
from serve.page.client import ApiError
from serve.page.handlers.base import Gesture, Handlers, gesture
from serve.page.session import Live, Session, Thought
from serve.page.thread import exchanges, goes_on_from, history
from serve.page.views import View

_TICK = 0.07  # seconds between two updates of a streaming answer, about 14 a second
_RECORDED = (0.0, 0.1, 0.2, 0.4, 0.8, 1.5)  # waits for a stopped turn to be in the record

Updates = AsyncGenerator[tuple[Any, Any], None]  # (thread, conversation list)


@dataclass(frozen=True)
class Answers(Handlers):
    """Handlers that make the model write; two drafts are offered on a share of the questions."""

    offer_drafts: float = 0

    async def send(self, session: Session, event: gr.EventData) -> Updates:
        """A new question; `drafts` of the gesture is 1 or 2."""
        given = gesture(event)
        query = given.text("text").strip()
        if not query or (session.live and session.live.running):
            session.finish(given.text("gesture"), session.words("being_written"))
            yield self.chat(session), gr.skip()
            return
        offered = random.random() < self.offer_drafts  # noqa: S311 - a share, no secret
        drafts = 2 if offered else given.number("drafts")
        async with aclosing(self._ask(session, given, query, drafts)) as updates:
            async for update in updates:
                yield update

    async def again(self, session: Session, event: gr.EventData) -> Updates:
        """Try once more what failed or was stopped."""
        given, live = gesture(event), session.live
        past = session.path
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
        past = session.path
        if not past:
            return
        if shown := past[-1].answer(session.chosen.get(past[-1].key, "")):
            with suppress(ApiError):  # noted, and never in the way
                await self.client.did("regenerated", shown.id, f"{given.text('gesture')}-did")
        plan = (past[-1].query, given.number("drafts"), len(past) - 1)
        async with aclosing(self._ask(session, given, *plan)) as updates:
            async for update in updates:
                yield update

    async def resend(self, session: Session, event: gr.EventData) -> Updates:
        """Put a question otherwise: a branch beside the one that is kept."""
        given = gesture(event)
        problem, query, past = "", given.text("text").strip(), []
        try:
            await self.sync(session, given)
            past = [place for place, e in enumerate(session.path) if e.key == given.text("turn")]
            problem = "" if past else session.words("turn_not_here")
        except ApiError as error:
            problem = error.said(session.words)
        if not query:
            problem = session.words("empty_question")
        if session.live and session.live.running:
            problem = session.words("being_written")
        if problem:
            session.finish(given.text("gesture"), problem)
            yield self.chat(session), gr.skip()
            return
        async with aclosing(self._ask(session, given, query, 1, past[0])) as updates:
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
            session.finish(given.text("gesture"), error.said(session.words))
            yield self.chat(session), gr.skip()
            return
        past = len(session.path)
        place = past if place is None else min(place, past)
        live = session.live = Live(query, max(1, min(drafts, 2)), place)
        session.detail = session.stopped = ""
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
        view = session.view
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
            if live.stopped and live.started and session.view != view:  # left for another one
                await self._abandon(live.started)
        finally:  # a closed tab ends here: the engine must not write on
            writing.cancel()
            stopping.cancel()

    async def _write(self, session: Session, live: Live) -> None:
        past = session.path[: live.past]
        messages = [*history(past, session.chosen), {"role": "user", "content": live.query}]
        parent = goes_on_from(past, session.chosen)
        stream = self.client.stream(messages, live.drafts, session.conversation_id, parent)
        async with aclosing(stream):
            async for event in stream:
                if isinstance(event, Started):
                    live.started = event
                elif event.draft < live.drafts:
                    (live.thoughts if event.reasoning else live.texts)[event.draft] += event.text
                live.changed = True

    async def _abandon(self, started: Started) -> None:
        """Note that the answer was left unfinished, once it is in the record."""
        for id in started.completion_ids:
            for wait in _RECORDED:
                await asyncio.sleep(wait)
                with suppress(ApiError):
                    await self.abandon(id)
                    break

    async def _end(self, session: Session, live: Live, writing: asyncio.Task[None]) -> None:
        """Take over what the record holds of the turn, or say why there is nothing."""
        await asyncio.wait({writing})
        if not writing.cancelled() and (problem := writing.exception()):
            broken = session.words("ending_interrupted")
            live.error = problem.said(session.words) if isinstance(problem, ApiError) else broken
        if session.live is live and live.started:
            try:
                await self._take_over(session, live, live.started)
            except ApiError as error:
                live.error = live.error or error.said(session.words)
        live.settled = True

    async def _take_over(self, session: Session, live: Live, started: Started) -> None:
        for wait in _RECORDED if live.stopped else (0.0,):
            await asyncio.sleep(wait)
            conversation = await self.read(session, started.conversation_id)
            if session.live is not live:
                return
            turn = conversation.turn(started.turn_id)
            if turn and turn.completions:
                break
        session.conversation = conversation
        if not live.error and turn and any(c.text.strip() for c in turn.completions):
            session.live = None
            session.stopped = turn.completions[0].id if live.stopped else ""
            for completion, seen in zip(turn.completions, live.thoughts, strict=False):
                if seen and completion.reasoning and live.drafts == 1:  # somebody is reading it
                    session.thoughts[completion.id] = Thought(text=completion.reasoning)
            for exchange in exchanges(conversation):
                if turn in exchange.turns:  # it is shown now, whatever was leafed to in its place
                    session.chosen.pop(exchange.key, None)
                    session.versions.pop(exchange.parent, None)
