"""The reviewers' page, at an address of its own in the same app: one row after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from serve.page.client import Client
from serve.page.review.desk import Desk
from serve.page.review.handlers import Reviews

_SCRIPTS = (
    "morph.js", "words.js", "theme.js", "unsent.js", "diff.js", "review_fix.js", "shortcuts.js",
    "review_keys.js", "signed_out.js", "review.js",
)  # fmt: skip


def add_review(
    page: gr.Blocks, client: Client, part: Callable[..., Any], on: Callable[..., None]
) -> None:
    """Add it to the app; `part` makes a component of static files, `on` wires a handler."""
    handlers = Reviews(client)
    with page.route("Review", "/review", show_in_navbar=False):
        desk = gr.State(Desk())
        review = part("review", _SCRIPTS)
        on(review.hello, handlers.hello, desk, [review])
        on(review.language, handlers.language, desk, [review])
        on(review.judge, handlers.judge, desk, [review])
        on(review.skip, handlers.skip, desk, [review])
        on(review.undo, handlers.undo, desk, [review])
