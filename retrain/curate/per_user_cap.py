"""One voter must not be able to teach everybody: each user's newest rows count, up to a cap.

The cap is `max_rows_per_user`, taken for training and for held-out rows apart.
"""

from collections import Counter

from retrain.curate._outcome import Outcome
from retrain.rows import Row
from serve.settings import Settings


def apply(rows: list[Row], settings: Settings) -> Outcome:
    taken: Counter[tuple[str, str]] = Counter()
    kept: list[Row] = []
    for row in reversed(rows):  # rows come oldest first
        owner = (row["split"], row["user_id"])
        taken[owner] += 1
        if taken[owner] <= settings.max_rows_per_user:
            kept.append(row)
    gone = len(rows) - len(kept)
    reason = f"beyond {settings.max_rows_per_user} rows of one user"
    return Outcome(kept[::-1], {reason: gone} if gone else {})
