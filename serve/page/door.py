"""The page's own door, in front of Gradio: a form that signs in at the API, and the way out."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.page.client import ApiError, Client
from serve.page.render import login_html
from serve.page.visitor import COOKIE, visitor_of

_LONGEST_FORM = 10_000  # bytes
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
            case "GET", "/":
                return None if await self._knows(request) else _to("/login")
            case "HEAD", "/":  # Gradio asks itself so before it serves: not a word of the API's
                return None
            case "GET" | "HEAD", "/login":
                return _to("/") if await self._knows(request) else _form()
            case "POST", "/login":
                return await self._sign_in(request)
            case "POST", "/logout":
                return await self._sign_out(request)
        # Gradio would keep files of anybody, also of one who has not signed in.
        takes_files = request.url.path.startswith("/gradio_api/upload")
        return PlainTextResponse("No files are taken here.", 404) if takes_files else None

    async def _knows(self, request: Request) -> bool:
        """Whether the API takes this browser; while it does not answer, the page says so itself."""
        try:
            with visitor_of(request).present():
                await self._client.who()
        except ApiError as error:
            return error.status != 401
        return True

    async def _sign_in(self, request: Request) -> Response:
        given = await _fields(request)
        if given is None:
            return _form("This form is too long.", status=413)
        name = given.get("name", "")
        try:
            with visitor_of(request).present():
                cookies = await self._client.sign_in(name, given.get("password", ""))
        except ApiError as error:
            return _form(str(error), name, error.status or 502)
        answer = _to("/")
        for cookie in cookies:
            answer.headers.append("set-cookie", cookie)
        return answer

    async def _sign_out(self, request: Request) -> Response:
        try:
            with visitor_of(request).present():
                await self._client.sign_out()
        except ApiError as error:
            if error.status != 401:  # one that has ended is out already
                return PlainTextResponse(f"Not signed out. {error}", error.status or 502)
        answer = _to("/login")
        answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return answer


def _same_origin(request: Request) -> bool:
    origin = request.headers.get("origin")
    hosts = {request.headers.get("host"), request.headers.get("x-forwarded-host")}
    return origin is None or origin.partition("://")[2] in hosts


def _to(path: str) -> Response:
    return RedirectResponse(path, 303, headers={"Cache-Control": "no-store"})


def _form(problem: str = "", name: str = "", status: int = 200) -> Response:
    return HTMLResponse(login_html(problem, name), status, headers=_HEADERS)


async def _fields(request: Request) -> dict[str, str] | None:
    """The fields of a form, None when it is too long."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_FORM:
            return None
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[-1] for name, values in fields.items()}
