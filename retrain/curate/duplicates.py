"""Exact duplicates: the same user said the same about the same text under the same prompt.

The newest row stays, so of two verdicts on one text the later one counts.
"""

from retrain.curate._outcome import Outcome
from retrain.parts import on_reasoning
from retrain.rows import Row, judged, prompt_key
from serve.settings import Settings


def apply(rows: list[Row], settings: Settings) -> Outcome:
    newest = {_key(row): index for index, row in enumerate(rows)}
    stay = set(newest.values())
    kept = [row for index, row in enumerate(rows) if index in stay]
    gone = len(rows) - len(kept)
    return Outcome(kept, {"said before by the same user": gone} if gone else {})


def _key(row: Row) -> tuple[str, ...]:
    return (row["split"], row["user_id"], row["kind"], prompt_key(row), *_texts(row))


def _texts(row: Row) -> list[str]:
    shown = sorted(answer["text"] for answer in judged(row))
    if on_reasoning(row):
        said = [row["payload"].get("text") or answer["reasoning"]["text"] for answer in judged(row)]
        return [*shown, "reasoning", *said]
    return [row["payload"]["text"]] if row["kind"] == "correction" else shown
