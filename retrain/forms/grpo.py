"""`{prompt, temperature, completions: [{text, token_ids, logprobs, adapter, reward}]}`: groups.

The draft with the highest reward is the one that was picked; there must be one.
"""

from typing import Any

from feedback.fields import show
from retrain.forms._told import Answer, Broken, Told, key_of, need, ours, prompt, text


def read(row: dict[str, Any]) -> list[Told]:
    before, drafts = need(row, "prompt", "completions")
    if not isinstance(drafts, list) or len(drafts) < 2:
        raise Broken(f"completions is {show(drafts)}; it must be a group of two or more")
    rewards = [_number("reward", need(_object(draft), "reward")[0]) for draft in drafts]
    best = max(rewards)
    if rewards.count(best) > 1:
        raise Broken(f"{rewards.count(best)} completions have the highest reward, {best:g}")
    sampling = {"temperature": _number("temperature", row.get("temperature", 1.0))}
    answers = [_answer(draft, sampling) for draft in drafts]
    said = {"kind": "comparison", "shown": [*range(len(drafts))], "chosen": rewards.index(best)}
    return [Told(key_of(row), prompt(before), answers, said, **ours(row))]


def _answer(draft: dict[str, Any], sampling: dict[str, Any]) -> Answer:
    (said,) = need(draft, "text")
    tokens, logprobs = draft.get("token_ids"), draft.get("logprobs")
    if tokens is not None and not _all(tokens, int):
        raise Broken("token_ids must be whole numbers")
    if logprobs is not None and (not _all(logprobs, float) or len(logprobs) != len(tokens or ())):
        raise Broken("logprobs must be numbers, one for each token")
    own = {"adapter": text("adapter", draft["adapter"])} if draft.get("adapter") else {}
    return Answer(text("text", said), token_ids=tokens, logprobs=logprobs, sampling=sampling, **own)


def _object(draft: object) -> dict[str, Any]:
    if not isinstance(draft, dict):
        raise Broken(f"completions has {show(draft)}, which is no object")
    return draft


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Broken(f"{name} is {show(value)}; it must be a number")
    return float(value)


def _all(values: object, kind: type) -> bool:
    wanted = (int, float) if kind is float else (int,)
    return isinstance(values, list) and all(
        isinstance(value, wanted) and not isinstance(value, bool) for value in values
    )
