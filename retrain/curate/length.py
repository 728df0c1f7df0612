"""Texts to learn from have something in them, and fit where a model could have written them.

Short is fine ("Yes.", `{}`, 好): only what has no visible character, or more than any window here
holds, goes.
"""

from retrain.curate._outcome import Outcome, sift
from retrain.curate._taught import taught
from retrain.rows import Row
from serve.settings import Settings

LONGEST = 32_000  # characters


def apply(rows: list[Row], settings: Settings) -> Outcome:
    return sift(rows, _amiss)


def _amiss(row: Row) -> str | None:
    text = taught(row)
    if text is None:
        return None
    if not any(character.isprintable() and not character.isspace() for character in text):
        return "nothing visible in the text to learn"
    return f"longer than {LONGEST} characters" if len(text) > LONGEST else None
