"""The text that a row wants imitated."""

from retrain.parts import on_reasoning
from retrain.rows import CORPUS, Row, completion, picked


def taught(row: Row) -> str | None:
    """The user's or corpus's own text, the picked draft, the answer rated up; None for none."""
    if row["kind"] in ("correction", CORPUS):
        return str(row["payload"]["text"])
    if pick := picked(row):
        return str(pick[0]["text"])
    about = completion(row)
    if row["kind"] != "rating" or row["payload"]["value"] < 0 or about is None:
        return None
    return str(about["reasoning"]["text"] if on_reasoning(row) else about["text"])
