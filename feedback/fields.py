"""Checks of the fields of a body: all raise Invalid with the field's name and what was wrong."""

from collections.abc import Iterable, Mapping
from typing import Any

from feedback.errors import Invalid


def only(body: Mapping[str, Any], allowed: Iterable[str]) -> None:
    """Refuse fields that nobody would read."""
    known = sorted({"kind", *allowed})
    for field in body:
        if field not in known:
            raise Invalid(
                mended(str(field)),
                f"{show(field)} is not a field here. The fields are {', '.join(known)}.",
            )


def required(body: Mapping[str, Any], param: str) -> Any:
    """The field's value."""
    if param not in body:
        raise Invalid(param, f"{param} is missing.")
    return body[param]


def text(param: str, value: object, limit: int, *, empty: bool = False) -> str:
    """A string that every database can store, of `limit` characters at most."""
    if not isinstance(value, str):
        raise Invalid(param, f"{param} is {show(value)}; it must be a string.")
    if not empty and not value.strip():
        raise Invalid(param, f"{param} is empty.")
    if len(value) > limit:
        raise Invalid(param, f"{param} has {len(value)} characters; the limit is {limit}.")
    return storable(param, value)


def storable(param: str, value: str) -> str:
    """The string, unless it holds what cannot be stored: a NUL or half of a surrogate pair."""
    if "\0" in value:
        raise Invalid(
            param, f"{param} holds a NUL character (U+0000), which cannot be stored. Remove it."
        )
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise Invalid(
            param, f"{param} holds half of a surrogate pair, which is not valid Unicode. Remove it."
        )
    return value


def storable_json(param: str, value: Any) -> Any:
    """The JSON value, its strings checked as by `storable`."""
    if isinstance(value, str):
        storable(param, value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            storable(param, str(key))
            storable_json(param, item)
    elif isinstance(value, list | tuple):
        for item in value:
            storable_json(param, item)
    return value


def mended(value: str) -> str:
    """The text with U+FFFD for what `storable` refuses: an engine's output is always kept."""
    return (
        value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )


def mended_json(value: Any) -> Any:
    """The JSON value with its strings mended."""
    if isinstance(value, str):
        return mended(value)
    if isinstance(value, Mapping):
        return {key: mended_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mended_json(item) for item in value]
    return value


def show(value: object, limit: int = 60) -> str:
    """The value as a short literal, for a message."""
    literal = ascii(value)
    return literal if len(literal) <= limit else literal[:limit] + "…"
