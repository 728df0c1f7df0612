"""Answers on the wire: server-sent events, and clients that hang up."""

import contextlib
import json
from collections.abc import Generator, Iterator
from typing import Any, TypeVar, cast

from flask import Response, request, stream_with_context

from serve.api.errors import ApiError, error_body

DONE = "data: [DONE]\n\n"
Piece = TypeVar("Piece")


def event(data: dict[str, Any], name: str = "") -> str:
    """One server-sent event."""
    named = f"event: {name}\n" if name else ""
    return f"{named}data: {json.dumps(data, ensure_ascii=False)}\n\n"


def event_stream(events: Iterator[str]) -> Response:
    """A response that nothing on the way may keep or hold back."""
    response = Response(stream_with_context(events), mimetype="text/event-stream")
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
    gone = request.environ.get("waitress.client_disconnected", lambda: False)
    with contextlib.closing(cast("Generator[Piece]", pieces)):
        for piece in pieces:
            yield piece
            if gone():
                raise ApiError(499, "The client closed the connection.", code="client_gone")
