"""The text that a row wants imitated."""

from retrain.parts import on_reasoning
from retrain.rows import Row, completion, picked


def taught(row: Row) -> str | None:
    """The user's own text, the picked draft, the answer rated up; None when there is none."""
    if row["kind"] == "correction":
        return str(row["payload"]["text"])
    if pick := picked(row):
        return str(pick[0]["text"])
    about = completion(row)
    if row["kind"] != "rating" or row["payload"]["value"] < 0 or about is None:
        return None
    return str(about["reasoning"]["text"] if on_reasoning(row) else about["text"])
