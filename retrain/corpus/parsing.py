"""The items of what a teacher wrote: whole, in a fence, cut off or malformed."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from retrain.corpus.readers import need
from retrain.corpus.teacher.wire import Reply

FENCE = re.compile(r"```(?:json)?\s*(.*?)(?:```|\Z)", re.DOTALL)
NO = re.compile(
    r"^\W*(?:I(?:['’]m| am) (?:very )?sorry|sorry|I (?:cannot|can['’]t|won['’]t|am unable)|"
    r"(?:很?抱歉|对不起|我?(?:无法|不能)))",
    re.IGNORECASE,
)

Item = dict[str, Any]
Fit = Callable[[Item], Item]


class Malformed(Exception):
    """An item is not of its form; the message is the reason, to be counted."""


@dataclass(frozen=True)
class Parsed:
    """The items of an answer; `how` is whole, repaired, cut off, malformed, refused or empty."""

    how: str
    items: tuple[Item, ...] = ()
    unfit: tuple[str, ...] = ()  # the reason of each item that is not of its form


def parse(reply: Reply, name: str, fit: Fit) -> Parsed:
    """What can be had of the answer, the list `name`. A last item that the limit cut into is not.

    `fit` gives an item as it is kept, or raises Malformed.
    """
    text = reply.text.strip()
    if reply.refused or (NO.match(text) and "{" not in text):
        return Parsed("refused")
    if not text:
        return Parsed("empty")
    found, how = _json(text)
    listed = _listed(found, name, fit)
    if listed is None:
        return Parsed("cut off" if reply.cut_off else "malformed")
    if reply.cut_off and how != "whole":
        listed, how = listed[:-1], "cut off"
    tried = [_tried(one, fit) for one in listed]
    good = tuple(one for one in tried if not isinstance(one, str))
    reasons = tuple(one for one in tried if isinstance(one, str))
    return Parsed(how if good or not listed else "malformed", good, reasons)


def text_in(item: Item, key: str, reason: str) -> str:
    """The text under `key`. Raises Malformed with the reason where there is none."""
    found = item.get(key)
    if not isinstance(found, str) or not found.strip():
        raise Malformed(reason)
    return found.strip().encode(errors="replace").decode()


def _json(text: str) -> tuple[Any, str]:
    try:
        return json.loads(text), "whole"
    except ValueError:
        pass
    fenced = FENCE.search(text)
    inside = fenced[1] if fenced else text[min(_places(text), default=len(text)) :]
    if not inside.strip():
        return None, "malformed"
    return need("json_repair", "A malformed answer").loads(inside), "repaired"


def _places(text: str) -> list[int]:
    return [at for at in (text.find("{"), text.find("[")) if at >= 0]


def _listed(found: Any, name: str, fit: Fit) -> list[Any] | None:
    """The list of items, also where the object around it, or the list, was left out."""
    if isinstance(found, dict) and isinstance(found.get(name), list):
        return list(found[name])
    if isinstance(found, dict) and not isinstance(_tried(found, fit), str):
        return [found]
    if isinstance(found, list) and (
        not found or any(not isinstance(_tried(one, fit), str) for one in found)
    ):
        return found
    return None


def _tried(one: Any, fit: Fit) -> Item | str:
    """The item as it is kept, or why it is not."""
    if not isinstance(one, dict):
        return "no object"
    try:
        return fit(one)
    except Malformed as error:
        return str(error)
