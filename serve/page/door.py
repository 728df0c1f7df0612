"""The page's own door, in front of Gradio: sign in at the API, sign out, and take files along."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.page.client import ApiError, Client
from serve.page.languages import Words
from serve.page.render import login_html
from serve.page.visitor import COOKIE, visitor_of

_LONGEST_FORM = 10_000  # bytes
_EXPORT, _REPORT = "/export/", "/report/"
_FORMS = {"md": "markdown", "json": "json"}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
}


class Door:
    """ASGI middleware. Gradio's own endpoints pass: the API checks what their handlers ask."""

    def __init__(self, app: ASGIApp, client: Client) -> None:
        self._app, self._client = app, client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._answer(Request(scope, receive)) if scope["type"] == "http" else None
        await (answer or self._app)(scope, receive, send)

    async def _answer(self, request: Request) -> Response | None:
        """What the door itself answers; None lets the request through."""
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
        takes_files = request.url.path.startswith("/gradio_api/upload")
        return PlainTextResponse("No files are taken here.", 404) if takes_files else None

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
        answer = _to("/login")
        answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return answer


def _same_origin(request: Request) -> bool:
    origin = request.headers.get("origin")
    hosts = {request.headers.get("host"), request.headers.get("x-forwarded-host")}
    return origin is None or origin.partition("://")[2] in hosts


def _to(path: str) -> Response:
    return RedirectResponse(path, 303, headers={"Cache-Control": "no-store"})


def _form(request: Request, problem: str = "", name: str = "", status: int = 200) -> Response:
    words = Words(visitor_of(request).language)
    return HTMLResponse(login_html(problem, name, words), status, headers=_HEADERS)


async def _fields(request: Request) -> dict[str, str] | None:
    """The fields of a form, None when it is too long."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_FORM:
            return None
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[-1] for name, values in fields.items()}
