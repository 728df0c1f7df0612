"""`{prompt, completion, label}`: TRL's unpaired preference; true is a thumb up."""

from typing import Any

from feedback.fields import show
from retrain.forms._told import Broken, Told, answer, key_of, need, ours, prompt


def read(row: dict[str, Any]) -> list[Told]:
    before, after, label = need(row, "prompt", "completion", "label")
    if not isinstance(label, bool):
        raise Broken(f"label is {show(label)}; it must be true or false")
    said = {"kind": "rating", "completion_id": 0, "value": 1 if label else -1}
    return [Told(key_of(row), prompt(before), [answer("completion", after)], said, **ours(row))]
