"""Nobody stands for an answer that they corrected or rated down, wherever those words are now.

A correction in quarantine teaches nobody, and neither does one that another step cut; yet its user
did say that the answer was wrong. A thumb up on it goes in any case. A pick goes where that word
is not among the rows; where it is, the datasets know, and that the picked draft is better than the
others stays true.
"""

from collections.abc import Sequence

from retrain import parts
from retrain.curate._outcome import Outcome, sift
from retrain.rows import Row
from serve.settings import Settings

SEES_ALL = True
DISOWNED = "on an answer that the same user corrected or rated down"


def apply(rows: list[Row], settings: Settings, given: Sequence[Row]) -> Outcome:
    heard = {row["feedback_id"] for row in rows}
    against = [row for row in given if parts.disowns(row)]
    wrong = {parts.subject(row) for row in against}
    unheard = {parts.subject(row) for row in against if row["feedback_id"] not in heard}

    def why(row: Row) -> str | None:
        among = unheard if row["kind"] == "comparison" else wrong
        return DISOWNED if parts.stood_for(row) in among else None

    return sift(rows, why)
