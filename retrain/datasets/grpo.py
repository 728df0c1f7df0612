"""Groups of the drafts shown in one comparison, with the sampler's own numbers and a reward each.

The picked draft has reward 1, the others 0, and thumbs on the same drafts grade them: half a point
up or down, the mean of all who gave one. A group in which all rewards are equal (a tie, "both bad",
without thumbs) has no advantage to learn from and is left out, and so is a group of which no draft
came to its end, and a draft without token ids and logprobs: its importance weight cannot be known.
The same goes for a draft that was written together with its reasoning, which the pick is not about.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from retrain.datasets import Example
from retrain.parts import on_reasoning
from retrain.rows import Row, judged, unfinished, written_whole

MADE_OF = "comparisons with a winner, of drafts whose token ids and logprobs were recorded"
THUMB = 0.5  # beside a pick's 1: who compares looked at all of them, who rates at one

Thumbs = Mapping[str, Sequence[int]]  # by the draft that they are on


def build(rows: list[Row]) -> list[Example]:
    compared = [row for row in rows if row["kind"] == "comparison" and not unfinished(row)]
    thumbs = _thumbs(rows)
    groups = [_group(row, thumbs) for row in compared]
    return [group for group in groups if group is not None]


def _thumbs(rows: Sequence[Row]) -> Thumbs:
    found: dict[str, list[int]] = {}
    for row in rows:
        if row["kind"] == "rating" and not on_reasoning(row):
            found.setdefault(row["completion_id"], []).append(row["payload"]["value"])
    return found


def _group(row: Row, thumbs: Thumbs) -> Example | None:
    chosen = row["payload"]["chosen"]
    drafts = [
        _draft(c, (c["id"] == chosen) + THUMB * fmean(thumbs.get(c["id"], [0])))
        for c in judged(row)
        if _was_sampled(c)
    ]
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
