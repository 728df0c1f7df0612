"""Serve the page until a signal ends it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence


def run(
    api_url: str,
    host: str = "127.0.0.1",
    port: int = 7860,
    examples: Sequence[str] = (),
    offer_drafts: float = 0,
) -> None:
    """Serve the page for the API at `api_url`; blocks until SIGTERM, SIGINT or the parent's end.

    Raises OSError when the port is taken.
    """
    # Set before Gradio is imported: it reads them then, and would otherwise call home.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_OFFLINE"] = "1"
    from starlette.middleware import Middleware

    from serve.page.app import build_page, launch_options
    from serve.page.client import Client
    from serve.page.door import Door

    ended, parent = threading.Event(), os.getppid()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    client = Client(api_url)
    page = build_page(client, examples, offer_drafts)
    page.queue(default_concurrency_limit=None)
    page.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        app_kwargs={"middleware": [Middleware(Door, client)]},
        **launch_options(),
    )
    while not ended.wait(1) and os.getppid() == parent:  # no orphan keeps the port
        pass
    page.close(verbose=False)
