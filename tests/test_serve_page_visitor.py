"""Each call of the page to the API is made for the browser that asked, and for no other."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from typing import Any

import gradio as gr
import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from serve.page.client import ApiError, Client
from serve.page.door import Door
from serve.page.handlers.answers import Answers
from serve.page.handlers.conversations import Conversations
from serve.page.session import Session
from serve.page.visitor import as_visitor, visitor_of


class Api:
    """Notes who asked; knows the sessions rs-ada and rs-bob, and gives cookies away."""

    def __init__(self) -> None:
        self.asked: list[httpx.Headers] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.headers)
        token = request.headers.get("authorization", "").removeprefix("Bearer rs-")
        if request.url.path == "/v1/session" and request.method == "POST":
            headers = {"set-cookie": "redraft_session=rs-eve; Path=/; HttpOnly"}
            return httpx.Response(200, json={}, headers=headers)
        if token not in ("ada", "bob"):
            return httpx.Response(401, json={"error": {"message": "This session has ended."}})
        if request.url.path == "/v1/session":
            user = {"name": token, "role": "admin" if token == "bob" else "user"}
            return httpx.Response(200, json={"asks_for_login": True, "user": user})
        if request.url.path == "/v1/feedback/reasons":
            return httpx.Response(200, json={"data": []})
        data = [{"id": f"conv_{token}", "title": f"of {token}", "updated_at": 0}]
        return httpx.Response(200, json={"data": data, "id": f"conv_{token}", "title": "t"})

    @property
    def client(self) -> Client:
        return Client("http://api.test", transport=httpx.MockTransport(self))


def request_of(user: str = "", **headers: str) -> gr.Request:
    given = {"cookie": f"redraft_session=rs-{user}", "host": "chat.test", **headers}
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]
    return gr.Request(Request({**scope_of(), "headers": raw}))


def scope_of() -> dict[str, Any]:
    scope = {"type": "http", "scheme": "http", "path": "/", "query_string": b"", "headers": []}
    return {**scope, "client": ("192.0.2.1", 5), "server": ("h", 1)}


def event(**data: Any) -> gr.EventData:
    return gr.EventData(None, data)


def test_two_browsers_at_once_are_two_people() -> None:
    api = Api()
    handlers = Conversations(api.client, ())
    hello = as_visitor(handlers.hello)

    async def both() -> list[Any]:
        calls = [hello(Session(), event(), request_of(user)) for user in ("ada", "bob") * 10]
        return await asyncio.gather(*calls)

    for at, (_, listed) in enumerate(asyncio.run(both())):
        name = ("ada", "bob")[at % 2]
        assert listed["who"] == ("ada" if name == "ada" else "bob · admin")
        assert f"of {name}" in listed["html"]
        assert f"of {('bob', 'ada')[at % 2]}" not in listed["html"]


def test_each_step_of_a_stream_is_the_same_persons() -> None:
    api = Api()
    client = api.client

    class Steps:
        async def run(self, session: Session, event: gr.EventData) -> AsyncGenerator[str, None]:
            for _ in range(3):
                yield await client.who()

    async def read() -> list[str]:
        views = as_visitor(Steps().run)(Session(), event(), request_of("ada"))
        other = as_visitor(Steps().run)(Session(), event(), request_of("bob"))
        found = []
        for _ in range(3):  # each step in a task of its own, as Gradio may do it
            for each in (views, other):
                found.append(await asyncio.create_task(anext(each)))
        await views.aclose()
        await other.aclose()
        return found

    assert asyncio.run(read()) == ["ada", "bob · admin"] * 3


def test_a_session_that_ended_sends_the_browser_to_the_form() -> None:
    hello = as_visitor(Conversations(Api().client, ()).hello)
    chat, listed = asyncio.run(hello(Session(), event(), request_of("gone")))
    assert chat["login"] is True and listed["login"] is True
    assert listed["problem"] == "This session has ended."


def test_a_tab_of_another_person_begins_anew() -> None:
    handlers = Conversations(Api().client, ())
    session = Session()

    async def turns() -> tuple[Any, Any]:
        await as_visitor(handlers.open)(session, event(id="conv_ada"), request_of("ada"))
        seen = session.conversation
        view = await as_visitor(handlers.fresh)(session, event(), request_of("bob"))
        return seen, view

    seen, (chat, listed) = asyncio.run(turns())
    assert seen and seen.id == "conv_ada"
    assert chat["conversation"] == "" and "of bob" in listed["html"]


def test_an_answer_in_progress_stops_when_another_signs_in() -> None:
    api = Api()
    session = Session()

    async def turns() -> bool:
        views = as_visitor(Answers(api.client, ()).send)(
            session, event(text="hi", drafts=1), request_of("ada")
        )
        await anext(views)
        live = session.live
        assert live is not None
        await as_visitor(Conversations(api.client, ()).fresh)(session, event(), request_of("bob"))
        await views.aclose()
        return live.stop.is_set()

    assert asyncio.run(turns())


def test_no_cookie_of_a_sign_in_stays_with_the_page() -> None:
    api = Api()
    client = api.client

    async def sign_in() -> list[str]:
        cookies = await client.sign_in("eve", "password")
        await as_visitor(Conversations(client, ()).hello)(Session(), event(), request_of("ada"))
        return cookies

    assert asyncio.run(sign_in()) == ["redraft_session=rs-eve; Path=/; HttpOnly"]
    assert all("cookie" not in headers for headers in api.asked)


def test_the_page_says_where_a_request_came_from() -> None:
    raw = request_of("ada", x_forwarded_for="198.51.100.7", x_forwarded_proto="https").request
    assert raw is not None
    assert visitor_of(raw).headers == {
        "X-Forwarded-For": "198.51.100.7, 192.0.2.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "chat.test",
        "Authorization": "Bearer rs-ada",
    }
    assert "rs-ada" not in repr(visitor_of(raw))


@pytest.mark.parametrize(
    ("header", "sent"),
    [
        (b"cookie: redraft_session=\xe9", {}),
        (b'cookie: redraft_session="a\\012b"', {}),
        (b"host: caf\xe9.test", {"X-Forwarded-Host": "caf?.test"}),
        (b"x-forwarded-for: \xe9", {"X-Forwarded-For": "?, 192.0.2.1"}),
        (b"x-forwarded-proto: \xff", {"X-Forwarded-Proto": "?"}),
    ],
)
def test_headers_of_any_bytes_can_be_sent_on(header: bytes, sent: dict[str, str]) -> None:
    name, _, value = header.partition(b": ")
    raw = Request({**scope_of(), "headers": [(name, value)]})
    given = visitor_of(raw)
    assert {"X-Forwarded-For": "192.0.2.1", **sent}.items() <= given.headers.items()
    assert given.token == ""

    async def ask() -> None:
        with given.present(), pytest.raises(ApiError, match="ended"):
            await Api().client.who()

    asyncio.run(ask())


def test_gradio_hears_from_the_page_while_the_api_is_still_loading() -> None:
    """Gradio gives up starting when its own HEAD / takes three seconds; a model takes longer."""

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("page")(scope, receive, send)

    async def ask() -> int:
        with socket.create_server(("127.0.0.1", 0)) as loading:  # takes calls, answers none
            client = Client(f"http://127.0.0.1:{loading.getsockname()[1]}")
            transport = httpx.ASGITransport(Door(page, client))
            async with httpx.AsyncClient(transport=transport, base_url="http://page") as http:
                return (await asyncio.wait_for(http.head("/"), 10)).status_code

    assert asyncio.run(ask()) == 200
