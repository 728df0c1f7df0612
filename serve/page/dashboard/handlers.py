"""What happens on the dashboard: reading, watching a run, acting on adapters."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import gradio as gr

from serve.page.client import ApiError, Client
from serve.page.dashboard import plots, views
from serve.page.dashboard.board import PERIODS, Behind, Board
from serve.page.handlers.base import Gesture, gesture

View = dict[str, Any]
_FILTERS = ("kind", "adapter", "outcome", "from", "to", "what", "step")
_ROWS = 20


class Dashboard:
    """Handlers of the dashboard: they hold no state, everything of a tab is in its Board."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def hello(self, board: Board, event: gr.EventData) -> tuple[Any, ...]:
        """A tab was opened or reloaded."""
        board.utc_offset = max(-900, min(900, gesture(event).number("utc_offset")))
        return await self.again(board)

    async def period(self, board: Board, event: gr.EventData) -> tuple[Any, ...]:
        """Other days are asked for."""
        days = gesture(event).number("days")
        board.days = days if days in PERIODS else board.days
        return await self.again(board)

    async def again(self, board: Board) -> tuple[Any, ...]:
        """Everything anew."""
        await self._tried(board, self._read_all(board))
        found = [] if board.refused else board.numbers.get("satisfaction_over_time", [])
        volume = [] if board.refused else board.numbers.get("volume", [])
        return (
            views.head(board),
            _shown(plots.satisfaction(found, board.numbers, board.words) if found else None),
            views.shares(board),
            _shown(plots.volume(volume, board.numbers, board.words) if volume else None),
            views.rest(board),
        )

    async def poll(self, board: Board) -> tuple[View, View]:
        """What changes by itself: runs, adapters, the schedule."""
        await self._tried(board, self._read_state(board))
        return views.head(board), views.rest(board)

    async def learned(self, board: Board, event: gr.EventData) -> tuple[View, View]:
        """Tell of another run."""
        board.chosen = gesture(event).text("run")
        await self._tried(board, self._read_learned(board))
        return views.head(board), views.rest(board)

    async def promote(self, board: Board, event: gr.EventData) -> tuple[View, View]:
        """Put an adapter into service, as was confirmed."""
        given = gesture(event)
        path = f"/v1/adapters/{quote(given.text('adapter'), safe='')}/promote"
        return await self._act(board, given, path, "dash_promoted")

    async def rollback(self, board: Board, event: gr.EventData) -> tuple[View, View]:
        """Take back what came into service last, as was confirmed."""
        return await self._act(board, gesture(event), "/v1/adapters/rollback", "dash_rolled_back")

    async def start(self, board: Board) -> tuple[View, View]:
        """Start a run now."""
        board.notice, board.failed = "", False
        try:
            run = await self._client.operate("POST", "/v1/runs")
            board.notice = board.words("dash_started", run=run["id"])
        except ApiError as error:
            board.notice, board.failed = error.said(board.words), True
        return await self.poll(board)

    async def rows(self, board: Board, event: gr.EventData) -> View:
        """List what a number counts."""
        given = gesture(event)
        query = {name: given.text(name) for name in _FILTERS if given.text(name)}
        board.behind = Behind(given.text("run"), query)
        await self._read_rows(board, board.behind)
        return views.rest(board)

    async def more(self, board: Board) -> View:
        """A longer list."""
        if board.behind is not None:
            await self._read_rows(board, board.behind)
        return views.rest(board)

    async def close(self, board: Board) -> View:
        """The list was closed."""
        board.behind = None
        return views.rest(board)

    async def _act(self, board: Board, given: Gesture, path: str, done: str) -> tuple[View, View]:
        try:
            body = {"reason": given.text("reason")[:2000]}
            found = await self._client.operate("POST", path, body=body)
            board.notice, board.failed = board.words(done, adapter=found["serving"]), False
        except ApiError as error:
            board.notice, board.failed = error.said(board.words), True
        return await self.poll(board)

    async def _tried(self, board: Board, reading: Awaitable[None]) -> None:
        """Read; what stands in the way is shown in place of the numbers."""
        board.refused = ""
        try:
            await reading
        except ApiError as error:
            key = "dash_refused" if error.status == 403 else "dash_unread"
            board.refused = board.words(key, problem=error.said(board.words))

    async def _read_all(self, board: Board) -> None:
        last = datetime.now(UTC).date()
        asked = {
            "from": str(last - timedelta(days=board.days - 1)),
            "to": str(last),
            "step": PERIODS[board.days],
        }
        board.numbers = await self._client.operate("GET", "/v1/dashboard", params=asked)
        await self._read_state(board)

    async def _read_state(self, board: Board) -> None:
        ended = board.asked_about()
        runs, board.adapters, board.schedule = await asyncio.gather(
            self._client.operate("GET", "/v1/runs"),
            self._client.operate("GET", "/v1/adapters"),
            self._client.operate("GET", "/v1/dashboard/schedule"),
        )
        board.runs = runs["data"]
        if board.asked_about() != ended or not board.learned:
            await self._read_learned(board)

    async def _read_learned(self, board: Board) -> None:
        run = board.asked_about()
        path = f"/v1/runs/{quote(run, safe='')}/learned"
        board.learned = await self._client.operate("GET", path) if run else {}

    async def _read_rows(self, board: Board, behind: Behind) -> None:
        run = quote(behind.source, safe="")
        path = f"/v1/runs/{run}/rows" if run else "/v1/dashboard/rows"
        after = {"after": behind.found[-1]["id"]} if behind.found else {}
        try:
            params = {**behind.query, **after, "limit": str(_ROWS)}
            page = await self._client.operate("GET", path, params=params)
        except ApiError as error:
            behind.problem = error.said(board.words)
            return
        behind.found += page["data"]
        behind.more, behind.problem = page["has_more"], ""


def _shown(plot: Any) -> Any:
    """The plot in its place, or its place away."""
    return gr.update(value=plot, visible=plot is not None)
