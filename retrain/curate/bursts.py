"""Many votes in one direction in a short time go to quarantine: a script, or a crowd that was sent.

Two shapes: one user's thumbs, nearly all up or nearly all down, faster than answers can be read;
and votes for, or against, nearly the same text, whoever they come from.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from retrain.curate._outcome import Outcome, hold
from retrain.parts import on_reasoning
from retrain.rows import Row, completion, picked, prompt_key, trusted
from retrain.terms import near, terms
from serve.settings import Settings

THUMBS = 30  # of one user
THUMBS_WITHIN = 300.0  # seconds
ONE_SIDED = 0.95
ON_ONE_TEXT = 30  # votes of anybody
ON_ONE_TEXT_WITHIN = 3600.0
ALIKE = 0.8  # Jaccard index of two texts' terms
TEXT = "a burst of votes on nearly the same text"
USER = "a burst of thumbs in one direction from one user"
SHORT = 4  # terms of a text ("Yes.") under which it is the same only under the same prompt


def apply(rows: list[Row], settings: Settings) -> Outcome:
    votes = [row for row in rows if not trusted(row)]
    found = {row["feedback_id"]: TEXT for row in _on_one_text(votes)}
    found |= {row["feedback_id"]: USER for row in _thumbs(votes)}
    return hold(rows, lambda row: found.get(row["feedback_id"]))


def _thumbs(votes: Iterable[Row]) -> Iterator[Row]:
    by_user = defaultdict(list)
    for row in votes:
        if row["kind"] == "rating":
            by_user[row["user_id"]].append(row)
    for given in by_user.values():
        for window in _windows(given, THUMBS, THUMBS_WITHIN):
            for up in (True, False):
                side = [row for row in window if (row["payload"]["value"] > 0) is up]
                if len(side) >= max(THUMBS, ONE_SIDED * len(window)):
                    yield from side


def _on_one_text(votes: Sequence[Row]) -> Iterator[Row]:
    stances = [(row, stance) for row in votes if (stance := _stance(row))]
    for way in ("for", "against"):
        told = [(row, text) for row, (direction, text) in stances if direction == way]
        groups = defaultdict(list)
        for (row, _), leader in zip(told, near([_about(*one) for one in told], ALIKE), strict=True):
            groups[leader].append(row)
        for group in groups.values():
            for window in _windows(group, ON_ONE_TEXT, ON_ONE_TEXT_WITHIN):
                yield from window


def _stance(row: Row) -> tuple[str, str] | None:
    """("for" or "against", a text), as the row votes."""
    if row["kind"] == "correction":
        return "for", row["payload"]["text"]
    if pick := picked(row):
        return "for", pick[0]["text"]
    if row["kind"] != "rating" or (rated := completion(row)) is None:
        return None
    text = rated["reasoning"]["text"] if on_reasoning(row) else rated["text"]
    return ("for" if row["payload"]["value"] > 0 else "against"), text


def _about(row: Row, text: str) -> frozenset[str]:
    found = terms(text)
    return found if len(found) >= SHORT else found | {prompt_key(row)}


def _windows(rows: Sequence[Row], least: int, seconds: float) -> Iterator[list[Row]]:
    """The longest stretches of at least so many rows that lie within so many seconds."""
    timed = sorted(rows, key=lambda row: (_moment(row), row["seq"]))
    moments = [_moment(row) for row in timed]
    start = 0
    for end, moment in enumerate(moments):
        while moment - moments[start] > seconds:
            start += 1
        whole = end + 1 == len(timed) or moments[end + 1] - moments[start] > seconds
        if whole and end - start + 1 >= least:
            yield timed[start : end + 1]


def _moment(row: Row) -> float:
    return datetime.fromisoformat(row["created_at"]).timestamp()
