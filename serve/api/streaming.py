"""Answers on the wire: server-sent events, and clients that hang up."""

import contextlib
import json
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar, cast

from flask import Response, request, stream_with_context

from serve.api.errors import ApiError, error_body

DONE = "data: [DONE]\n\n"
COMMENT = ": still here\n\n"  # no event, but proxies close a connection that is silent for a minute
COMFORT = 15  # empty events from one to the next
to_json = json.JSONEncoder(ensure_ascii=False).encode  # made once: json.dumps makes one a call
Piece = TypeVar("Piece")


def event(data: dict[str, Any], name: str = "") -> str:
    """One server-sent event."""
    named = f"event: {name}\n" if name else ""
    return f"{named}data: {to_json(data)}\n\n"


def event_stream(events: Iterator[str]) -> Response:
    """A response that nothing on the way may keep or hold back. An empty event says that nothing
    came for a while: then one is looked after whether the client is still there."""
    response = Response(stream_with_context(_heard(events)), mimetype="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def ended(events: Iterator[str]) -> Iterator[str]:
    """The events and OpenAI's last; the headers are out, so an error travels as an event."""
    try:
        yield from events
    except Exception as error:
        yield event(error_body(error)[0])
    yield DONE


def while_heard(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The pieces of a whole answer. Raises ApiError 499, and closes them, when the client left."""
    gone = _gone()
    with contextlib.closing(cast("Generator[Piece]", pieces)):
        for piece in pieces:
            yield piece
            if gone():
                raise ApiError(499, "The client closed the connection.", code="client_gone")


def _heard(events: Iterator[str]) -> Iterator[str]:
    """The events that say something, while the client is there."""
    gone, silent = _gone(), 0
    with contextlib.closing(cast("Generator[str]", events)):
        for one in events:
            if one:
                yield one
                silent = 0
            elif gone():
                return
            elif (silent := silent + 1) % COMFORT == 0:
                yield COMMENT


def _gone() -> Callable[[], bool]:
    """What tells whether the client of this request has closed the connection."""
    found: Callable[[], bool] = request.environ.get("waitress.client_disconnected", lambda: False)
    return found
