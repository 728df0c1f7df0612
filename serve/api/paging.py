"""Cursor paging: `limit` and `after` in, OpenAI's list object out."""

import re
from collections.abc import Sequence
from typing import Any

from flask import request

from serve.api.errors import ApiError

MOST = 100
PAGE = {
    "limit": {"type": "integer", "minimum": 1, "maximum": MOST, "default": 20},
    "after": {"type": "string"},
}


def page_arguments() -> tuple[int, str | None]:
    """(limit, after) of the request. Raises ApiError 400 for a limit outside 1..100."""
    given = request.args.get("limit", "20")
    if not re.fullmatch("[0-9]{1,3}", given) or not 1 <= int(given) <= MOST:
        raise ApiError(
            400, f"limit is {given!r}; it takes 1 to {MOST}.", param="limit", code="invalid_value"
        )
    return int(given), request.args.get("after") or None


def list_object(items: Sequence[Any], has_more: bool, last_id: str | None) -> dict[str, Any]:
    return {"object": "list", "data": list(items), "has_more": has_more, "last_id": last_id}
