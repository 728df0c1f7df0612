"""The texts of a row that a way of selecting looks at."""

from retrain.curate._taught import taught
from retrain.rows import Row, judged, picked


def wanted(row: Row) -> str:
    """The text that the row speaks for, "" where there is none."""
    return taught(row) or ""


def unwanted(row: Row) -> str:
    """A text that the row speaks against, "" where there is none."""
    if pick := picked(row):
        return str(pick[1][0]["text"])
    if row["kind"] == "rating" and row["payload"]["value"] < 0:
        return next((str(c["text"]) for c in judged(row)), "")
    return ""


def question(row: Row) -> str:
    """What was asked last."""
    return next((m["content"] or "" for m in reversed(row["messages"]) if m["role"] == "user"), "")
