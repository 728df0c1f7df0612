"""Prompt, completion, label: an answer, and whether its user liked it.

| verdict | label |
| --- | --- |
| thumb up | true |
| thumb down | false |

A user's thumb up on an answer that they corrected as well says two things at once and is left out;
of two thumbs of a user on one text the newer counts. A comparison judges drafts against each other,
which is more than a label each says, and gives pairs and groups instead.
"""

from retrain import parts
from retrain.datasets import Example, said_key, signal
from retrain.rows import Row, completion

MADE_OF = "thumbs, up and down"


def build(rows: list[Row]) -> list[Example]:
    corrected = {parts.subject(row) for row in rows if row["kind"] == "correction"}
    newest: dict[tuple[str, ...], Example] = {}
    for row in rows:
        if row["kind"] != "rating":
            continue
        example = _example(row)
        if example and not (example["label"] and parts.subject(row) in corrected):
            newest[said_key(row, example)] = example
    return list(newest.values())


def _example(row: Row) -> Example | None:
    rated = completion(row)
    if rated is None:
        return None
    said = parts.judged_part(row, rated)
    if not parts.words(said):
        return None
    return {
        "prompt": parts.prompt(row),
        "completion": said,
        "label": bool(row["payload"]["value"] > 0),
        "signal": signal(row, "thumb"),
        "feedback_id": row["feedback_id"],
    }
