"""The kinds of feedback, one file each, found by name.

A file has `GROUP`, `SCHEMA` (the properties of its body beside `kind`, as JSON Schema), `REQUIRED`,
a `validate` function and `outcomes`. The groups are kept apart wherever feedback is read:
*verdicts* are what people say of answers and all that is learned from; a *review* is a reviewer's
word on a verdict; *implicit* kinds are what people did without saying anything.
"""

import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Protocol, cast

from sqlalchemy.orm import Session

from feedback.errors import Invalid
from feedback.fields import show
from feedback.tables import User

Payload = Mapping[str, Any]
VERDICT, REVIEW, IMPLICIT = GROUPS = ("verdict", "review", "implicit")


@dataclass(frozen=True)
class Resolved:
    """A body that was found valid: what it is about, and what it says."""

    target_id: str
    turn_id: str
    completion_id: str | None
    conversation_id: str
    payload: dict[str, Any]


class Kind(Protocol):
    GROUP: str
    SCHEMA: Mapping[str, Any]
    REQUIRED: Sequence[str]

    def validate(self, session: Session, user: User, body: Mapping[str, Any]) -> Resolved:
        """Check the body strictly; raises Invalid, Conflict, or NotFound for another user's."""

    def outcomes(self, payload: Payload, adapters: Mapping[str, str]) -> set[tuple[str, str]]:
        """What it says of which adapter: (adapter, outcome), under which it is counted.

        `adapters` are those of the answers that it judges, by completion id. The adapter is "" for
        what it says of none.
        """


@cache
def kinds(*groups: str) -> tuple[str, ...]:
    """The names of all kinds, or of those of the groups, in order."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__))
    known = (name for name in names if not name.startswith("_"))
    return tuple(name for name in known if not groups or _module(name).GROUP in groups)


def load_kind(name: object) -> Kind:
    """The kind of that name; raises Invalid."""
    if name not in kinds():
        raise Invalid("kind", f"kind is {show(name)}; it must be one of {', '.join(kinds())}.")
    return _module(name)


def schema(name: str) -> dict[str, Any]:
    """The body of that kind as a JSON Schema."""
    kind = load_kind(name)
    return {
        "title": name,
        "type": "object",
        "required": ["kind", *kind.REQUIRED],
        "properties": {"kind": {"const": name}, **kind.SCHEMA},
        "additionalProperties": False,
    }


def _module(name: object) -> Kind:
    return cast(Kind, import_module(f"{__name__}.{name}"))
