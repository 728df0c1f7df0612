"""One voter must not be able to teach everybody: each user's newest rows count, up to a cap.

The cap is `max_rows_per_user`, and for who is not trusted also what all others gave, divided by
`min_users` - 1: with the default of 2 nobody has more than half of the rows. What a reviewer let
through is a reviewer's word. Training and held-out rows are taken apart. This is the last step, so
that what it counts is what a run learns; what is left out counts once others have said more.
"""

from collections import Counter

from retrain.curate._outcome import Outcome
from retrain.rows import Row, trusted, vouched_for
from serve.settings import Settings

SHARE = "more of one user than others gave"


def apply(rows: list[Row], settings: Settings) -> Outcome:
    most = settings.max_rows_per_user
    shares = _shares(rows, most, settings.min_users)
    taken: Counter[tuple[str, str]] = Counter()
    gone: Counter[str] = Counter()
    kept: list[Row] = []
    for row in reversed(rows):  # rows come oldest first
        owner = _owner(row)
        if taken[owner] >= most:
            gone[f"beyond {most} rows of one user"] += 1
        elif taken[owner] >= shares[owner] and not (trusted(row) or vouched_for(row)):
            gone[SHARE] += 1
        else:
            taken[owner] += 1
            kept.append(row)
    return Outcome(kept[::-1], gone)


def _shares(rows: list[Row], most: int, least: int) -> dict[tuple[str, str], int]:
    """How many rows of each user of a split count beside those of the others; one always does."""
    given = {owner: min(n, most) for owner, n in Counter(map(_owner, rows)).items()}
    if least < 2:
        return given
    whole: Counter[str] = Counter()
    for (split, _), n in given.items():
        whole[split] += n
    return {owner: max(1, (whole[owner[0]] - n) // (least - 1)) for owner, n in given.items()}


def _owner(row: Row) -> tuple[str, str]:
    return row["split"], row["user_id"]
