"""Teaching: thumbs, corrections and comparisons, each written at once and taken back as easily."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import gradio as gr

from serve.page.api_types import Rating, Turn
from serve.page.client import ApiError, PageError
from serve.page.handlers.base import Gesture, Handlers, completion_of, gesture, turn_of
from serve.page.session import Session
from serve.page.thread import in_order
from serve.page.views import View

Write = Callable[[Session, Gesture], Awaitable[None]]


class Verdicts(Handlers):
    """Handlers that write feedback. Writes of one tab follow each other, in the order clicked."""

    async def rate(self, session: Session, event: gr.EventData) -> View:
        """A thumb: `value` 1 or -1 gives it, 0 takes it back; `part` "reasoning" is for that.

        `tags` and `comment` say why; each time all of them. `click` counts the tab's gestures.
        """
        return await self._write(session, gesture(event), self._rate, "completion")

    async def detail(self, session: Session, event: gr.EventData) -> View:
        """Ask why about a rated answer, again or (with no answer named) no more."""
        await self.know_reasons(session)
        session.detail = gesture(event).text("completion")
        return self.chat(session)

    async def correct(self, session: Session, event: gr.EventData) -> View:
        """The person's own text for an answer."""
        return await self._write(session, gesture(event), self._correct, "completion")

    async def uncorrect(self, session: Session, event: gr.EventData) -> View:
        """Take a correction back."""
        return await self._write(session, gesture(event), self._uncorrect, "completion")

    async def judge(self, session: Session, event: gr.EventData) -> View:
        """A verdict on the drafts of a turn: one of them, "tie" or "both_bad"."""
        return await self._write(session, gesture(event), self._judge, "turn")

    async def unjudge(self, session: Session, event: gr.EventData) -> View:
        """Take a verdict on drafts back: they wait for another one."""
        return await self._write(session, gesture(event), self._unjudge, "turn")

    async def understand(self, session: Session, event: gr.EventData) -> View:
        """How the question should have been understood; the open field says what went wrong."""
        return await self._write(session, gesture(event), self._understand, "")

    async def misunderstand(self, session: Session, event: gr.EventData) -> View:
        """Take that back."""
        return await self._write(session, gesture(event), self._misunderstand, "turn")

    async def copied(self, session: Session, event: gr.EventData) -> None:
        """An answer was copied: noted, and never in the way."""
        given, session.stopped = gesture(event), ""
        with suppress(ApiError):
            await self.client.did("copied", given.text("completion"), given.text("gesture"))

    async def select(self, session: Session, event: gr.EventData) -> View:
        """Leaf to another answer, or another version of a question; the record stays as it is."""
        given = gesture(event)
        to = given.text("to")
        for exchange in session.path:
            if any(c.id == to for c in exchange.answers):
                session.chosen[exchange.key] = to
            if to in exchange.versions:
                session.versions[exchange.parent] = to
        return self.chat(session)

    async def _write(self, session: Session, given: Gesture, write: Write, about: str) -> View:
        target, problem, session.stopped = given.text(about), "", ""
        async with session.writes:
            try:
                await self.sync(session, given)
                await write(session, given)
                await self.reload(session)
            except ApiError as error:
                problem = error.said(session.words)
        session.notes.pop(target, None)
        if problem:
            session.notes[target] = session.words("not_saved", problem=problem)
        session.finish(given.text("gesture"), problem)
        return self.chat(session)

    async def _rate(self, session: Session, given: Gesture) -> None:
        completion, value = completion_of(session, given), given.number("value", default=2)
        if value not in (1, 0, -1):
            raise PageError("strange_thumb")
        part = "reasoning" if given.text("part") == "reasoning" else ""
        # Each click is a request of its own, and they can overtake each other on their way.
        if session.outrun(completion.id, part, given.number("click")):
            return
        standing = completion.reasoning_rating_id if part else completion.rating_id
        if value:
            tags, comment = given.texts("tags"), given.text("comment").strip()
            rating = Rating(completion.id, value, part, tags, comment)
            await self.client.rate(rating, given.text("gesture"))
            session.detail = "" if part else completion.id
            await self.know_reasons(session)
        elif standing:
            await self.client.withdraw(standing)

    async def _correct(self, session: Session, given: Gesture) -> None:
        text = given.text("text").strip()
        if not text:
            raise PageError("empty_correction")
        completion = completion_of(session, given)
        await self.client.correct(completion.id, text, given.text("gesture"))

    async def _uncorrect(self, session: Session, given: Gesture) -> None:
        completion = completion_of(session, given)
        if completion.correction_id:
            await self.client.withdraw(completion.correction_id)

    async def _understand(self, session: Session, given: Gesture) -> None:
        text = given.text("text").strip()
        if not text:
            raise PageError("empty_question")
        await self.client.understand(turn_of(session, given).id, text, given.text("gesture"))

    async def _misunderstand(self, session: Session, given: Gesture) -> None:
        turn = turn_of(session, given)
        if turn.rewrite_id:
            await self.client.withdraw(turn.rewrite_id)

    async def _judge(self, session: Session, given: Gesture) -> None:
        turn = turn_of(session, given)
        shown = [c.id for c in in_order(turn)]
        await self.client.compare(
            turn.id, shown, checked(turn, given.text("chosen")), given.text("gesture")
        )

    async def _unjudge(self, session: Session, given: Gesture) -> None:
        turn = turn_of(session, given)
        if turn.comparison_id:
            await self.client.withdraw(turn.comparison_id)
        for exchange in session.path:
            if turn in exchange.turns:
                session.chosen.pop(exchange.key, None)


def checked(turn: Turn, chosen: str) -> str:
    """The verdict itself; raises ApiError when it names nothing that was shown."""
    if chosen in ("tie", "both_bad") or any(c.id == chosen for c in turn.completions):
        return chosen
    raise PageError("draft_not_here")
