"""What the API document says of an endpoint beyond its route and its docstring."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

View = TypeVar("View", bound=Callable[..., Any])
Schema = Mapping[str, Any]
JSON, EVENTS, TEXT = "application/json", "text/event-stream", "text/plain"
MARKDOWN, HTML = "text/markdown", "text/html"


@dataclass(frozen=True)
class Operation:
    """`body` is the model that the view validates, or a schema where a kind's file validates."""

    body: type[BaseModel] | Schema | None = None
    body_required: bool = True
    status: int = 200
    media: tuple[str, ...] = (JSON,)  # of the answer
    query: Mapping[str, Schema] | None = None
    headers: Mapping[str, str] | None = None
    error: Schema | None = None  # where it has not the form of every other
    public: bool = False  # answers without a key, wherever the server listens
    role: str = "user"  # the least that may ask: user, reviewer, admin
    answers: bool = False  # with what is being written: a user has so many of them open at once


def operation(**values: Any) -> Callable[[View], View]:
    """Attach an `Operation` to a view."""

    def attach(view: View) -> View:
        view.operation = Operation(**values)  # type: ignore[attr-defined]
        return view

    return attach


def operation_of(view: Callable[..., Any]) -> Operation:
    """The operation of a view, a plain one where none was attached."""
    found: Operation = getattr(view, "operation", Operation())
    return found
