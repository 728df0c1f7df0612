"""JSON from outside, of which only what can be kept, answered and looked through is taken."""

import json
import math
import re
from typing import Any

DEEPEST = 100  # objects and lists in each other; far below where Python itself gives up
ESCAPED = re.compile(r"\\u[dD]")  # how half of a surrogate pair comes in a text that is UTF-8


def read_json(text: str) -> Any:
    """The value of a JSON text. Raises ValueError, JSONDecodeError where it is no JSON.

    Refused are also numbers that are none or not finite, which databases refuse, half of a
    surrogate pair, which nothing can send, and what nests too deeply.
    """
    try:
        value = DECODER.decode(text)
    except RecursionError:
        raise _too_deep() from None
    _check_depth(value)
    if ESCAPED.search(text):
        _check_unicode(value)
    return value


def _constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON's")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits[:40]} is too large a number")
    return number


DECODER = json.JSONDecoder(parse_constant=_constant, parse_float=_finite)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return
    raise _too_deep()


def _inside(value: Any) -> list[Any]:
    """The objects and lists right in it."""
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [one for one in held if isinstance(one, dict | list)]


def _too_deep() -> ValueError:
    return ValueError(f"it nests more than {DEEPEST} objects and lists in each other")


def _check_unicode(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        why = "a text in it has half of a surrogate pair, which is not valid Unicode"
        raise ValueError(why) from None
