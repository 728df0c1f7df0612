"""The kinds of feedback, one file each, found by name: modules with a `validate` function."""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

from sqlalchemy.orm import Session

from feedback.errors import Invalid
from feedback.fields import show
from feedback.tables import User


@dataclass(frozen=True)
class Resolved:
    """A body that was found valid: what it is about, and what it says."""

    target_id: str
    turn_id: str
    completion_id: str | None
    conversation_id: str
    payload: dict[str, Any]


class Kind(Protocol):
    def validate(self, session: Session, user: User, body: Mapping[str, Any]) -> Resolved:
        """Check the body strictly; raises Invalid, Conflict, or NotFound for another user's."""


def kinds() -> list[str]:
    """The names of all kinds, in order."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_kind(name: object) -> Kind:
    """The kind of that name; raises Invalid."""
    if name not in kinds():
        raise Invalid("kind", f"kind is {show(name)}; it must be one of {', '.join(kinds())}.")
    return cast(Kind, import_module(f"{__name__}.{name}"))
