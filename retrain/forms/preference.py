"""`{prompt, chosen, rejected}`: TRL's pairs, also with the prompt inside both sides."""

from typing import Any

from retrain.forms._told import Broken, Messages, Told, answer, key_of, messages, need, ours, prompt


def read(row: dict[str, Any]) -> list[Told]:
    chosen, rejected = need(row, "chosen", "rejected")
    if "prompt" in row:
        asked = prompt(row["prompt"])
    else:
        asked, chosen, rejected = _apart(chosen, rejected)
    drafts = [answer("chosen", chosen), answer("rejected", rejected)]
    if drafts[0].text == drafts[1].text:
        raise Broken("chosen and rejected are the same")
    said = {"kind": "comparison", "shown": [0, 1], "chosen": 0}
    return [Told(key_of(row), asked, drafts, said, **ours(row))]


def _apart(chosen: Any, rejected: Any) -> tuple[Messages, Any, Any]:
    """(prompt, chosen, rejected) of two conversations that differ in the last message."""
    before, other = messages("chosen", chosen)[:-1], messages("rejected", rejected)[:-1]
    if before != other:
        raise Broken("chosen and rejected do not answer the same prompt")
    return prompt(before), chosen[-1:], rejected[-1:]
