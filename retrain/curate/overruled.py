"""A reviewer's or an admin's verdict overrules those of others on the same thing.

It does so wherever it was recorded and whatever other steps cut: whether the word of a reviewer
counts depends neither on the split of their conversation nor on the room that a run has. So says
`redraft export` too (see `retrain.reviews`).
"""

from collections.abc import Sequence

from retrain.curate._outcome import Outcome
from retrain.reviews import reviewed
from retrain.rows import Row
from serve.settings import Settings

SEES_ALL = True
OVERRULED = "overruled by a reviewer"


def apply(rows: list[Row], settings: Settings, given: Sequence[Row]) -> Outcome:
    kept = reviewed(rows, given)
    gone = len(rows) - len(kept)
    return Outcome(kept, {OVERRULED: gone} if gone else {})
