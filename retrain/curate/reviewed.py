"""What reviewers said of a verdict: dropped ones go, fixed ones teach the reviewer's text.

A fixed rating or comparison becomes a correction of the answer that it stood for. Rows that were
kept or fixed do not go to quarantine any more (`_outcome.hold`).
"""

from collections import Counter

from retrain.curate._outcome import Outcome
from retrain.rows import Row, judged, picked
from serve.settings import Settings

DROPPED = "dropped by a reviewer"
FIXED = "fixed by a reviewer"


def apply(rows: list[Row], settings: Settings) -> Outcome:
    kept, told, changed = list[Row](), Counter[str](), Counter[str]()
    for row in rows:
        review = row.get("review") or {}
        if review.get("verdict") == "drop" or (review.get("verdict") == "fix" and not _said(row)):
            told[DROPPED] += 1
        elif review.get("text"):
            kept.append(_fixed(row, review["text"]))
            changed[FIXED] += 1
        else:
            kept.append(row)
    return Outcome(kept, told, changed=changed)


def _said(row: Row) -> bool:
    """Whether a fix has its text, here or where it was put already; it is gone with a reviewer."""
    return bool(row["review"].get("text") or row["review"].get("applied"))


def _fixed(row: Row, text: str) -> Row:
    """The row with the reviewer's text as what the user said; the review keeps no copy."""
    review = {**row["review"], "text": None, "applied": True}
    if row["kind"] in ("correction", "rewrite"):
        return {**row, "payload": {**row["payload"], "text": text}, "review": review}
    pick = picked(row)
    about = pick[0] if pick else judged(row)[0]
    part = {key: row["payload"][key] for key in ("part",) if key in row["payload"]}
    return {
        **row,
        "kind": "correction",
        "completion_id": about["id"],
        "payload": {**part, "text": text},
        "review": review,
    }
