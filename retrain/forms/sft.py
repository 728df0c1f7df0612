"""`{prompt, completion}` or `{messages}`: TRL's columns. The completion is how to answer.

It is recorded as an answer and as the text that somebody stood for: a thumb where the row says that
it was one, else a correction to the same words, which no trainer takes for a pair.
"""

from typing import Any

from retrain.forms._told import Broken, Told, answer, key_of, messages, need, ours, prompt


def read(row: dict[str, Any]) -> list[Told]:
    if "messages" in row:
        said = messages("messages", row["messages"])
        if len(said) < 2:
            raise Broken("messages has no question and answer")
        asked, good = prompt(said[:-1]), answer("messages", row["messages"][-1:])
    else:
        before, after = need(row, "prompt", "completion")
        asked, good = prompt(before), answer("completion", after)
    if not good.text.strip():
        raise Broken("the answer is empty")
    return [Told(key_of(row), asked, [good], _said(row, good.text), **ours(row))]


def _said(row: dict[str, Any], text: str) -> dict[str, Any]:
    if row.get("signal") == "thumb":
        return {"kind": "rating", "completion_id": 0, "value": 1}
    return {"kind": "correction", "completion_id": 0, "text": text}
