"""The page in Debian's Chromium: how the browser tests open it, ask, and read the record."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import Redraft, wait_until
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Error,
    Page,
    Request,
    expect,
    sync_playwright,
)

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True},
}
expect.set_options(timeout=15_000)  # milliseconds; two busy cores are slow


@contextmanager
def open_chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def open_context(chromium: Browser, **given: Any) -> Iterator[BrowserContext]:
    opened = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **given})
    opened.set_default_timeout(10_000)
    opened.set_default_navigation_timeout(60_000)  # the first page of a process is slow
    yield opened
    opened.close()


def visit(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.errors = []  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.errors.append(str(error)))  # type: ignore[attr-defined]
    page.streams = _streams(page)  # type: ignore[attr-defined]
    page.goto(url)
    expect(page.get_by_label("Message")).to_be_focused()
    return page


def _streams(page: Page) -> set[Request]:
    """The streams of events that are open now; Gradio closes one when its event has ended."""
    found = set[Request]()
    page.on("request", lambda r: found.add(r) if "/queue/data" in r.url else None)
    page.on("requestfinished", lambda r: found.discard(r))
    page.on("requestfailed", lambda r: found.discard(r))
    return found


def reload(page: Page) -> None:
    """Load the page anew, also while Gradio, which lost its server, is about to do the same."""
    try:
        page.reload()
    except Error as error:
        if "ERR_ABORTED" not in str(error) and "interrupted" not in str(error):
            raise
        page.reload()


def settle(page: Page) -> None:
    """Wait until nothing that was done on the page is still under way."""
    deadline = time.monotonic() + 30
    while page.streams:  # type: ignore[attr-defined]
        assert time.monotonic() < deadline, "an event of the page does not end"
        page.wait_for_timeout(50)  # what Playwright reports comes only while it is asked


def send(page: Page, text: str) -> None:
    page.get_by_label("Message").fill(text)
    page.get_by_label("Message").press("Enter")


def ask(page: Page, text: str) -> None:
    """Send and wait for the end of the answer."""
    send(page, text)
    expect(page.locator(".bubble").last).to_have_text(text)
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def conversation(server: Redraft, page: Page) -> dict[str, Any]:
    """The record's view of the conversation that the page shows."""
    answer = server.http.get(f"/v1/conversations/{page.url.partition('#')[2]}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def completion(server: Redraft, page: Page) -> dict[str, Any]:
    found: dict[str, Any] = conversation(server, page)["turns"][-1]["completions"][0]
    return found


def soon(check: Callable[[], bool]) -> None:
    wait_until(check, 30)


def child(server: Redraft, module: str) -> psutil.Process:
    assert server.process is not None
    children = psutil.Process(server.process.pid).children(recursive=True)
    return next(found for found in children if module in found.cmdline())


@contextmanager
def away(server: Redraft, module: str) -> Iterator[None]:
    """One of the server's processes is killed, and started again only after the block."""
    assert server.process is not None
    victim = child(server, module)
    server.process.send_signal(signal.SIGSTOP)
    try:
        victim.kill()
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def serious(page: Page) -> list[str]:
    """What axe-core calls serious or critical on the page as it is now."""
    return [
        f"{one['id']}: {node['html'][:150]} {node['failureSummary'][:200]}"
        for one in Axe().run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
