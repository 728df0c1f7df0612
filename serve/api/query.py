"""The query of a request, held to what its endpoint tells of it in the API document."""

from flask import request

from feedback.fields import show
from serve.api.errors import ApiError
from serve.api.operation import Operation


def check_query(found: Operation) -> None:
    """Raises ApiError 400 for a parameter that is none of its choices, or comes more than once."""
    for name, schema in (found.query or {}).items():
        given = request.args.getlist(name)
        if len(given) > 1 and schema["type"] != "array":
            raise _refused(name, f"{name} comes {len(given)} times; it is to come once.")
        for value in given:
            if value not in schema.get("enum", (value,)):
                known = ", ".join(schema["enum"])
                raise _refused(name, f"{name} is {show(value)}; it is one of {known}.")


def _refused(name: str, message: str) -> ApiError:
    return ApiError(400, message, param=name, code="invalid_value")
