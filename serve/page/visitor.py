"""Whose browser it is: the session and the address that travel with each call to the API."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from starlette.requests import Request

from serve.page.languages import DEFAULT, negotiate
from serve.page.session import Session

COOKIE = "redraft_session"  # the API's; the browser sends it here too
_PRESENT: ContextVar[Visitor | None] = ContextVar("visitor", default=None)


@dataclass
class Visitor:
    """One request of a browser. Without a token the API says whether that is enough."""

    token: str = field(default="", repr=False)
    forwarded: dict[str, str] = field(default_factory=dict)
    language: str = DEFAULT
    refused: bool = False  # the API did not know the session

    @property
    def headers(self) -> dict[str, str]:
        """What says to the API who asks. A bearer, not a cookie: no other site can have it sent."""
        bearer = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {**self.forwarded, **bearer}

    @contextmanager
    def present(self) -> Iterator[None]:
        """Calls to the API inside the block are this visitor's."""
        reset = _PRESENT.set(self)
        try:
            yield
        finally:
            _PRESENT.reset(reset)

    def told(self, view: Any) -> Any:
        """The view, with the word that the browser must sign in where the API said so."""
        if not self.refused:
            return view
        if isinstance(view, tuple):
            return tuple(self.told(part) for part in view)
        is_ours = isinstance(view, dict) and "revision" in view
        return {**view, "login": True} if is_ours else view


def present_visitor() -> Visitor | None:
    """Whose request is being answered, None outside of one."""
    return _PRESENT.get()


def visitor_of(request: Request) -> Visitor:
    """Who a request comes from; like any proxy, this one adds where it got the request from."""
    peer = request.client.host if request.client else ""
    known = {
        "X-Forwarded-For": ", ".join(filter(None, [request.headers.get("x-forwarded-for"), peer])),
        "X-Forwarded-Proto": request.headers.get("x-forwarded-proto", request.url.scheme),
        "X-Forwarded-Host": request.headers.get("host", ""),
    }
    language = negotiate(request.cookies, request.headers)
    token = request.cookies.get(COOKIE, "")
    is_ours = token.isascii() and token.isprintable()  # a quoted cookie can hold any sign
    return Visitor(token if is_ours else "", _in_ascii(known), language)


def _in_ascii(headers: dict[str, str]) -> dict[str, str]:
    """Headers that can be sent on: browsers and scanners send any byte, httpx refuses some."""
    return {name: value.encode("ascii", "replace").decode() for name, value in headers.items()}


def as_visitor(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler for Gradio: what it asks of the API is asked for the browser it serves."""
    takes_event = len(inspect.signature(handler).parameters) > 1

    async def call(session: Session, event: gr.EventData, request: gr.Request) -> Any:
        visitor = _begin(session, request)
        with visitor.present():
            view = await (handler(session, event) if takes_event else handler(session))
        return visitor.told(view)

    async def stream(
        session: Session, event: gr.EventData, request: gr.Request
    ) -> AsyncGenerator[Any, None]:
        visitor = _begin(session, request)
        async with aclosing(handler(session, event)) as views:
            while True:
                with visitor.present():  # anew for each step: Gradio may take it in another task
                    try:
                        view = await anext(views)
                    except StopAsyncIteration:
                        return
                yield visitor.told(view)

    return stream if inspect.isasyncgenfunction(handler) else call


def _begin(session: Session, request: gr.Request) -> Visitor:
    """The visitor; a tab that another one left behind begins anew."""
    raw = request.request
    visitor = visitor_of(raw) if raw is not None else Visitor()
    if session.owner != visitor.token:
        session.begin(visitor.token)
    session.language = visitor.language
    return visitor
