"""Whose word counts where a reviewer and others judged the same thing."""

from collections.abc import Sequence

from retrain.parts import on_reasoning
from retrain.rows import Row, completion, judged, prompt_key, trusted

Thing = tuple[str, ...]


def reviewed(rows: Sequence[Row], given: Sequence[Row] | None = None) -> list[Row]:
    """The rows without those of others on what a reviewer or an admin judged as well.

    A rating or correction overrules both kinds on the same answer, a comparison those between the
    same drafts, under one prompt. Reviewers' rows are sought among `given`, else among the rows.
    """
    settled = {thing(row) for row in (rows if given is None else given) if trusted(row)} - {None}
    return [row for row in rows if trusted(row) or thing(row) not in settled]


def thing(row: Row) -> Thing | None:
    """What the row judges: equal for the same drafts, or the same part of the same answer."""
    if row["kind"] == "comparison":
        return "drafts", prompt_key(row), *sorted({c["text"] for c in judged(row)})
    found = completion(row) if row["kind"] in ("rating", "correction") else None
    if found is None:
        return None
    reasoning = found["reasoning"]["text"] if on_reasoning(row) else ""
    return "answer", prompt_key(row), found["text"], reasoning
