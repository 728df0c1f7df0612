"""What the door lets through to Gradio: what its front end sends, of those who may use the page."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from serve.page.client import Client
from serve.page.door import Door

JOIN = "/gradio_api/queue/join"
ADA = {"cookie": "redraft_session=rs-ada"}


class Page:
    """A door before an app that notes what it read, and an API that knows ada, or everybody."""

    def __init__(self, asks_for_login: bool = True, answers: bool = True) -> None:
        self.read: list[tuple[str, bytes]] = []
        self.asked = 0
        self.asks_for_login, self.answers = asks_for_login, answers
        client = Client("http://api.test", transport=httpx.MockTransport(self._api))
        self.transport = httpx.ASGITransport(Door(self._app, client))

    def send(self, *calls: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
        async def all_of_them() -> list[httpx.Response]:
            async with httpx.AsyncClient(transport=self.transport, base_url="http://page") as http:
                return [await http.request(method, path, **given) for method, path, given in calls]

        return asyncio.run(all_of_them())

    def post(self, path: str, **given: Any) -> httpx.Response:
        return self.send(("POST", path, given))[0]

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        body = await Request(scope, receive).body()
        self.read.append((scope["path"], body))
        await PlainTextResponse("page")(scope, receive, send)

    def _api(self, request: httpx.Request) -> httpx.Response:
        if not self.answers:
            raise httpx.ConnectError("refused", request=request)
        self.asked += 1
        known = request.headers.get("authorization") == "Bearer rs-ada"
        if self.asks_for_login and not known:
            return httpx.Response(401, json={"error": {"message": "Sign in."}})
        if request.method == "DELETE":
            return httpx.Response(204)
        user = {"name": "ada", "role": "user"}
        return httpx.Response(200, json={"asks_for_login": self.asks_for_login, "user": user})


@pytest.mark.parametrize("path", [JOIN, "/gradio_api/cancel", "/gradio_api/reset"])
def test_what_gradios_front_end_sends_arrives_whole(path: str) -> None:
    page = Page()
    assert page.post(path, content=b"{}", headers=ADA).text == "page"
    assert page.read == [(path, b"{}")]


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/process_recording", "/gradio_api/component_server", "/gradio_api/upload",
        "/gradio_api/component_server/", "/gradio_api/run/predict", "/gradio_api/call/x",
        "/gradio_api/queue/join/", "/gradio_api/vibe-edit", "/login/", "/", "/anything",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_else_is_taken_of_anybody(method: str, path: str) -> None:
    page = Page(asks_for_login=False)
    [answer] = page.send((method, path, {"files": {"video": b"x" * 10_000}, "headers": ADA}))
    assert answer.status_code == 404
    assert page.read == []


@pytest.mark.parametrize("headers", [{}, {"cookie": "redraft_session=rs-gone"}])
def test_who_is_not_signed_in_sends_nothing(headers: dict[str, str]) -> None:
    page = Page()
    answer = page.post(JOIN, content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()) == (401, {"detail": "Sign in first."})
    assert page.read == []


def test_where_nobody_signs_in_everybody_is_taken() -> None:
    page = Page(asks_for_login=False)
    assert page.post(JOIN, content=b"{}").is_success


def test_while_the_api_does_not_answer_the_page_says_so_itself() -> None:
    page = Page(answers=False)
    assert page.post(JOIN, content=b"{}").is_success


def test_the_longest_text_that_fits_its_field_is_taken() -> None:
    page = Page()
    gesture = json.dumps({"data": [None], "event_data": {"text": "\x01" * 100_000}}).encode()
    assert page.post(JOIN, content=gesture, headers=ADA).is_success
    assert page.read == [(JOIN, gesture)]


def test_more_than_that_is_refused_before_it_is_read() -> None:
    page, sent = Page(), 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 100_000
            yield b"x" * 100_000

    async def post() -> httpx.Response:
        async with httpx.AsyncClient(transport=page.transport, base_url="http://page") as http:
            return await http.post(JOIN, content=endless(), headers=ADA)

    answer = asyncio.run(post())
    assert answer.status_code == 413
    assert answer.json()["detail"].endswith("at most 1000000 bytes are taken.")
    assert sent <= 1_200_000 and page.read == []


def test_the_api_is_not_asked_at_each_gesture_who_somebody_is() -> None:
    page = Page()
    gesture = ("POST", JOIN, {"content": b"{}", "headers": ADA})
    page.send(("GET", "/", {"headers": ADA}), gesture, gesture, gesture)
    assert page.asked == 1 and len(page.read) == 4


def test_who_signed_out_is_asked_about_again() -> None:
    page = Page()
    gesture = ("POST", JOIN, {"content": b"{}", "headers": ADA})
    first, _ = page.send(gesture, ("POST", "/logout", {"headers": ADA}))
    asked = page.asked
    page.send(gesture)
    assert first.is_success and page.asked == asked + 1  # it is the API's word again
