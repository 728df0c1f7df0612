"""The page's own door, in front of Gradio: sign in at the API, sign out, and take files along."""

from __future__ import annotations

import time
from contextlib import suppress
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.page.client import ApiError, Client
from serve.page.languages import Words
from serve.page.render import login_html
from serve.page.visitor import COOKIE, visitor_of

_LONGEST_FORM = 10_000  # bytes
_LONGEST_GESTURE = 1_000_000  # bytes; a text of 100,000 characters has six of each at the most
_GESTURES = frozenset(f"/gradio_api/{name}" for name in ("queue/join", "cancel", "reset"))
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_SURE = 60.0  # seconds in which a browser that the API took is not asked about again
_MOST_KNOWN = 1000
_EXPORT, _REPORT = "/export/", "/report/"
_FORMS = {"md": "markdown", "json": "json"}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
}


class Door:
    """ASGI middleware. What Gradio reads out passes, and what its front end sends; no more.

    The API checks what the handlers ask of it.
    """

    def __init__(self, app: ASGIApp, client: Client) -> None:
        self._app, self._client = app, client
        self._known: dict[tuple[str, ...], float] = {}  # visitor -> until when that is sure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(ClientDisconnect):  # nobody waits for an answer
            is_http = scope["type"] == "http"
            answer = await self._answer(Request(scope, receive)) if is_http else None
            await (answer or self._app)(scope, receive, send)

    async def _answer(self, request: Request) -> ASGIApp | None:
        """What answers in place of Gradio; None lets the request through."""
        if not _same_origin(request):
            return PlainTextResponse("Another web site cannot use this page.", 403)
        match request.method, request.url.path:
            case "GET", "/" | "/review" | "/dashboard":
                return None if await self._knows(request) else _to("/login")
            case "HEAD", "/":  # Gradio asks itself so before it serves: not a word of the API's
                return None
            case "GET" | "HEAD", "/login":
                return _to("/") if await self._knows(request) else _form(request)
            case "POST", "/login":
                return await self._sign_in(request)
            case "POST", "/logout":
                return await self._sign_out(request)
        if request.method == "GET" and request.url.path.startswith(_EXPORT):
            return await self._exported(request)
        if request.method == "GET" and request.url.path.startswith(_REPORT):
            return await self._reported(request)
        # Gradio would keep files of anybody, also of one who has not signed in.
        if request.url.path.startswith("/gradio_api/upload"):
            return PlainTextResponse("No files are taken here.", 404)
        return None if request.method in _READING else await self._gesture(request)

    async def _gesture(self, request: Request) -> ASGIApp:
        """Gradio with what was sent, if it is what its front end sends and one may send it."""
        words = Words(visitor_of(request).language)
        if request.method != "POST" or request.url.path not in _GESTURES:
            return PlainTextResponse("Nothing is taken here.", 404)
        if time.monotonic() > self._known.get(_name(request), 0) and not await self._knows(request):
            return JSONResponse({"detail": words("sign_in_first")}, 401)
        body = await _body(request, _LONGEST_GESTURE)
        if body is None:
            return JSONResponse({"detail": words("too_much", most=_LONGEST_GESTURE)}, 413)
        return _reading(self._app, body)

    async def _exported(self, request: Request) -> Response:
        """A conversation as a file; the API says whether it is this visitor's."""
        name, _, ending = request.url.path.removeprefix(_EXPORT).rpartition(".")
        visitor = visitor_of(request)
        words = Words(visitor.language)
        if ending not in _FORMS:
            return PlainTextResponse(words("conversation_gone"), 404)
        try:
            with visitor.present():
                file = await self._client.export(name, _FORMS[ending])
        except ApiError as error:
            said = words("not_exported", problem=error.said(words))
            return PlainTextResponse(said, error.status or 502)
        kept = ("content-type", "content-disposition")
        headers = {key: file.headers[key] for key in kept if key in file.headers}
        return Response(file.content, headers={**headers, "Cache-Control": "no-store"})

    async def _reported(self, request: Request) -> Response:
        """The report of a run, which has no scripts; the API says whether they may read it."""
        visitor = visitor_of(request)
        try:
            with visitor.present():
                page = await self._client.report(request.url.path.removeprefix(_REPORT))
        except ApiError as error:
            return PlainTextResponse(error.said(Words(visitor.language)), error.status or 502)
        return HTMLResponse(page.content, headers=_HEADERS)

    async def _knows(self, request: Request) -> bool:
        """Whether the API takes this browser; while it does not answer, the page says so itself."""
        try:
            with visitor_of(request).present():
                await self._client.who()
        except ApiError as error:
            return error.status != 401
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[_name(request)] = time.monotonic() + _SURE
        return True

    async def _sign_in(self, request: Request) -> Response:
        given, visitor = await _fields(request), visitor_of(request)
        words = Words(visitor.language)
        if given is None:
            return _form(request, words("form_too_long"), status=413)
        name = given.get("name", "")
        try:
            with visitor.present():
                cookies = await self._client.sign_in(name, given.get("password", ""))
        except ApiError as error:
            return _form(request, error.said(words), name, error.status or 502)
        answer = _to("/")
        for cookie in cookies:
            answer.headers.append("set-cookie", cookie)
        return answer

    async def _sign_out(self, request: Request) -> Response:
        visitor = visitor_of(request)
        words = Words(visitor.language)
        try:
            with visitor.present():
                await self._client.sign_out()
        except ApiError as error:
            if error.status != 401:  # one that has ended is out already
                said = words("not_signed_out", problem=error.said(words))
                return PlainTextResponse(said, error.status or 502)
        self._known.pop(_name(request), None)
        answer = _to("/login")
        answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return answer


def _same_origin(request: Request) -> bool:
    origin = request.headers.get("origin")
    hosts = {request.headers.get("host"), request.headers.get("x-forwarded-host")}
    return origin is None or origin.partition("://")[2] in hosts


def _name(request: Request) -> tuple[str, ...]:
    """All that the API knows a browser by."""
    return tuple(visitor_of(request).headers.values())


def _reading(app: ASGIApp, body: bytes) -> ASGIApp:
    """The app, which gets a body that has been read before it."""
    parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        async def given() -> Message:
            return parts.pop() if parts else await receive()

        await app(scope, given, send)

    return call


def _to(path: str) -> Response:
    return RedirectResponse(path, 303, headers={"Cache-Control": "no-store"})


def _form(request: Request, problem: str = "", name: str = "", status: int = 200) -> Response:
    words = Words(visitor_of(request).language)
    return HTMLResponse(login_html(problem, name, words), status, headers=_HEADERS)


async def _fields(request: Request) -> dict[str, str] | None:
    """The fields of a form, None when it is too long."""
    body = await _body(request, _LONGEST_FORM)
    if body is None:
        return None
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[-1] for name, values in fields.items()}


async def _body(request: Request, longest: int) -> bytes | None:
    """What was sent, None when it is longer; no more than that is read."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > longest:
            return None
    return bytes(body)
