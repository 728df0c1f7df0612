"""`{instruction, input, output, system, history}`: Alpaca's columns as LLaMA-Factory reads them.

`history` is a list of [question, answer]; what `input` holds follows the instruction in a line of
its own. Conversations in which nobody takes turns cannot be said so.
"""

from typing import Any

from retrain.forms._told import Broken, Told, answer, key_of, need, ours, text

OF = "sft"
MADE_OF = "what sft is made of, where user and assistant take turns"


def write(example: dict[str, Any]) -> dict[str, Any] | None:
    said = [m for m in example["prompt"] if m["role"] not in ("system", "developer")]
    system = [m for m in example["prompt"] if m["role"] in ("system", "developer")]
    turns = ["user", "assistant"] * len(said)
    if [m["role"] for m in said] != turns[: len(said)] or len(system) > 1:
        return None
    if system and system[0] is not example["prompt"][0]:
        return None
    told = [m["content"] for m in said]
    return {
        "instruction": told[-1],
        "input": "",
        "output": example["completion"][0]["content"],
        "system": system[0]["content"] if system else "",
        "history": [[told[at], told[at + 1]] for at in range(0, len(told) - 1, 2)],
    }


def read(row: dict[str, Any]) -> list[Told]:
    instruction, output = need(row, "instruction", "output")
    more, system = row.get("input") or "", row.get("system") or ""
    asked = text("instruction", instruction)
    if more:
        asked = f"{asked}\n{text('input', more)}"
    prompt = [{"role": "system", "content": text("system", system)}] if system else []
    for pair in row.get("history") or []:
        if not isinstance(pair, list) or len(pair) != 2:
            raise Broken("history has something else than pairs of question and answer")
        question, reply = (text("history", part, empty=True) for part in pair)
        prompt += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": reply},
        ]
    prompt.append({"role": "user", "content": asked})
    good = answer("output", output)
    said = {"kind": "correction", "completion_id": 0, "text": good.text}
    return [Told(key_of(row), prompt, [good], said, **ours(row))]
