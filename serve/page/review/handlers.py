"""Reviewing: keep, fix, drop, later, and the last verdict taken back."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import gradio as gr

from serve.page.client import ApiError, Client, PageError
from serve.page.handlers.base import Gesture, gesture
from serve.page.review.desk import Desk, Head, Said, parse_head
from serve.page.review.view import desk_view
from serve.page.views import View

VERDICTS = ("keep", "fix", "drop")
_REMEMBERED = 100  # verdicts that can be taken back


class Reviews:
    """Handlers of the reviewers' page: they hold no state, all of a tab is in its Desk."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def hello(self, desk: Desk) -> View:
        """A tab was opened or reloaded: the first row that waits."""
        desk.head, desk.skipped, desk.notice = None, "", ""
        with suppress(ApiError):  # without them the keys of reasons are shown
            desk.reasons = await self.client.reasons()
        return await self._next(desk)

    async def language(self, desk: Desk) -> View:
        """Another language was chosen: everything is said again."""
        return desk_view(desk)

    async def judge(self, desk: Desk, event: gr.EventData) -> View:
        """A verdict on the row that the tab shows; then the next row."""
        given, desk.notice = gesture(event), ""
        problem = ""
        try:
            desk.said.append(await self._judged(desk, given))
            del desk.said[:-_REMEMBERED]
            desk.undone = False
        except ApiError as error:
            problem = error.said(desk.words)
            desk.notice = desk.words("not_saved", problem=problem)
            if error.status == 404:  # withdrawn, or its conversation deleted, meanwhile
                desk.notice, problem = desk.words("review_gone"), ""
        desk.finish(given.text("gesture"), problem)
        return desk_view(desk) if problem else await self._next(desk)

    async def skip(self, desk: Desk, event: gr.EventData) -> View:
        """Look at the row later, after all others."""
        given, desk.notice = gesture(event), ""
        desk.skipped, desk.undone = given.text("row"), False
        desk.finish(given.text("gesture"))
        return await self._next(desk)

    async def undo(self, desk: Desk, event: gr.EventData) -> View:
        """Take the last verdict back and show its row again."""
        given, desk.notice, problem = gesture(event), "", ""
        last = desk.said[-1] if desk.said else None
        if last:
            try:
                await self.client.withdraw(last.id)
                desk.said.pop()
                desk.undone = True
            except ApiError as error:
                problem = error.said(desk.words)
                desk.notice = desk.words("not_saved", problem=problem)
        desk.finish(given.text("gesture"), problem)
        if problem or not last:
            return desk_view(desk)
        view = await self._next(desk)
        if last.row and desk.head:
            desk.head = replace(desk.head, row=last.row)
            view = desk_view(desk)
        return view

    async def _judged(self, desk: Desk, given: Gesture) -> Said:
        row, verdict = given.text("row"), given.text("verdict")
        if verdict not in VERDICTS or not row:
            raise PageError("strange_review")
        text = given.text("text").strip() if verdict == "fix" else None
        if text == "":
            raise PageError("empty_correction")
        id = await self.client.review(row, verdict, text, given.text("gesture"))
        shown = desk.head.row if desk.head else None
        return Said(id, verdict, shown if shown and shown.id == row else None)

    async def _next(self, desk: Desk) -> View:
        """The first row that waits, of those after the skipped one first."""
        try:
            desk.head = await self._head(desk.skipped)
            if desk.skipped and desk.head.row is None:
                desk.skipped = ""
                desk.head = await self._head("")
        except ApiError as error:
            if error.status == 400 and desk.skipped:  # a run has made the queue anew
                desk.skipped = ""
                return await self._next(desk)
            desk.head, desk.notice = None, error.said(desk.words)
        return desk_view(desk)

    async def _head(self, after: str) -> Head:
        return parse_head(await self.client.review_queue(1, after))
