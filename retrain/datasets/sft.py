"""Prompt and completion: what a user wrote, picked or praised.

| verdict | example | weight |
| --- | --- | --- |
| correction | the user's own text | 1 |
| comparison with a winner | the picked draft | 1 |
| thumb up | the answer | 0.5 |

A thumb is a weaker word than a pick or a text. An answer that the same user corrected or rated
down is no example, whatever else they said of it; a text that a user stands for twice counts once,
at the higher weight.
"""

from retrain.datasets import Example
from retrain.rows import Row, answer, completion, draft, picked, prompt_key

MADE_OF = "corrections, comparisons with a winner, thumbs up"
WEIGHT = {"correction": 1.0, "pick": 1.0, "thumb": 0.5}


def build(rows: list[Row]) -> list[Example]:
    disowned = {(row["user_id"], row["completion_id"]) for row in rows if _disowns(row)}
    best: dict[tuple[str, str, str], Example] = {}
    for row in rows:
        found = _stood_for(row)
        if found is None:
            continue
        signal, said, source = found
        text = said[0]["content"]
        if (row["user_id"], source) in disowned or not text.strip():
            continue
        key = (row["user_id"], prompt_key(row), text)
        if key not in best or best[key]["weight"] < WEIGHT[signal]:
            best[key] = _example(row, signal, said)
    return list(best.values())


def _stood_for(row: Row) -> tuple[str, list[dict[str, str]], str | None] | None:
    """(signal, answer, the completion it is, None for the user's own) that the row speaks for."""
    if row["kind"] == "correction":
        return "correction", answer(row["payload"]["text"]), None
    if pick := picked(row):
        return "pick", draft(pick[0]), pick[0]["id"]
    if row["kind"] == "rating" and row["payload"]["value"] > 0:
        rated = completion(row)
        return ("thumb", draft(rated), rated["id"]) if rated else None
    return None


def _disowns(row: Row) -> bool:
    if row["kind"] == "correction":
        return True
    return bool(row["kind"] == "rating" and row["payload"]["value"] < 0)


def _example(row: Row, signal: str, said: list[dict[str, str]]) -> Example:
    return {
        "prompt": row["messages"],
        "completion": said,
        "weight": WEIGHT[signal],
        "signal": signal,
        "feedback_id": row["feedback_id"],
    }
