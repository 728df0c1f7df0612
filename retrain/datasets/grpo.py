"""Groups of the drafts shown in one comparison, with the sampler's own numbers and a reward each.

The picked draft has reward 1, the others 0. A group in which all rewards are equal (a tie, "both
bad") has no advantage to learn from and is left out, and so is a group of which no draft came to
its end, and a draft without token ids and logprobs: its importance weight cannot be known. The same
goes for a draft that was written together with its reasoning, which the pick is not about.
"""

from typing import Any

from retrain.datasets import Example
from retrain.rows import Row, judged, unfinished, written_whole

MADE_OF = "comparisons with a winner, of drafts whose token ids and logprobs were recorded"


def build(rows: list[Row]) -> list[Example]:
    groups = [_group(row) for row in rows if row["kind"] == "comparison" and not unfinished(row)]
    return [group for group in groups if group is not None]


def _group(row: Row) -> Example | None:
    chosen = row["payload"]["chosen"]
    drafts = [_draft(c, float(c["id"] == chosen)) for c in judged(row) if _was_sampled(c)]
    if len({draft["reward"] for draft in drafts}) < 2:
        return None
    temperatures = {c["sampling"].get("temperature", 1.0) for c in judged(row)}
    if len(temperatures) > 1:
        return None
    return {
        "prompt": row["messages"],
        "temperature": float(temperatures.pop()),
        "completions": drafts,
        "signal": "pick",
        "feedback_id": row["feedback_id"],
    }


def _was_sampled(c: Row) -> bool:
    if written_whole(c):
        return False
    return bool(c["token_ids"]) and len(c["token_ids"]) == len(c["logprobs"] or ())


def _draft(c: Row, reward: float) -> dict[str, Any]:
    kept = {key: c[key] for key in ("text", "token_ids", "logprobs", "adapter")}
    return {**kept, "reward": reward}
