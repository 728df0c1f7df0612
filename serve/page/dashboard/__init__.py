"""The operators' page, at an address of its own in the same app: its numbers are the API's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from serve.page.client import Client
from serve.page.dashboard.board import Board
from serve.page.dashboard.handlers import Dashboard

_SCRIPTS = ("morph.js", "words.js", "theme.js", "dashboard.js")


def add_dashboard(
    page: gr.Blocks, client: Client, part: Callable[..., Any], on: Callable[..., None]
) -> None:
    """Add it to the app; `part` makes a component of static files, `on` wires a handler."""
    handlers = Dashboard(client)
    with page.route("Dashboard", "/dashboard", show_in_navbar=False):
        board = gr.State(Board())
        head = part("dashboard-head", (*_SCRIPTS, "signed_out.js", "dashboard-head.js"))
        satisfaction = _plot("dashboard-satisfaction")
        shares = part("dashboard-shares", (*_SCRIPTS, "dashboard-shares.js"))
        volume = _plot("dashboard-volume")
        rest = part("dashboard-rest", (*_SCRIPTS, "dashboard-rest.js"))
        everything = [head, satisfaction, shares, volume, rest]
        on(head.hello, handlers.hello, board, everything)
        on(head.language, handlers.again, board, everything)
        on(head.period, handlers.period, board, everything)
        on(head.poll, handlers.poll, board, [head, rest])
        on(rest.promote, handlers.promote, board, [head, rest])
        on(rest.rollback, handlers.rollback, board, [head, rest])
        on(rest.start, handlers.start, board, [head, rest])
        on(rest.learned, handlers.learned, board, [head, rest])
        on(rest.rows, handlers.rows, board, [rest])
        on(rest.more, handlers.more, board, [rest])
        on(rest.close, handlers.close, board, [rest])


def _plot(name: str) -> Any:
    return gr.Plot(show_label=False, container=False, elem_id=name, visible=False)
