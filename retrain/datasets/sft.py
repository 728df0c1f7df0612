"""Prompt and completion: what a user wrote, picked or praised, or a corpus says.

| verdict | example | weight |
| --- | --- | --- |
| correction | the user's own text | 1 |
| comparison with a winner | the picked draft | 1 |
| thumb up | the answer | 0.5 |
| none, it is of a corpus | the answer | 1 |

A thumb is a weaker word than a pick or a text. An answer that the same user corrected or rated
down is no example, whatever else they said of it; a text that a user stands for twice counts once,
at the higher weight. The reasoning of an answer is judged and learned apart; see `retrain.parts`.
"""

from retrain import parts
from retrain.datasets import Example, said_key, signal
from retrain.rows import CORPUS, Answer, Row, answer, completion, picked

MADE_OF = "corrections, comparisons with a winner, thumbs up"
SAID_ONCE = True
WEIGHT = {"correction": 1.0, "pick": 1.0, "thumb": 0.5, CORPUS: 1.0}


def build(rows: list[Row]) -> list[Example]:
    disowned = {parts.subject(row) for row in rows if parts.disowns(row)}
    best: dict[tuple[str, ...], Example] = {}
    for row in rows:
        found = _stood_for(row)
        if found is None:
            continue
        verdict, said = found
        if parts.stood_for(row) in disowned or not parts.words(said):
            continue
        example = _example(row, verdict, said)
        key = said_key(row, example)
        if key not in best or best[key]["weight"] < example["weight"]:
            best[key] = example
    return list(best.values())


def _stood_for(row: Row) -> tuple[str, Answer] | None:
    """(verdict, answer) that the row speaks for."""
    if row["kind"] == "correction":
        return "correction", parts.corrected(row)
    if row["kind"] == CORPUS:
        return CORPUS, answer(row["payload"]["text"])
    if pick := picked(row):
        return "pick", parts.draft(pick[0])
    if row["kind"] == "rating" and row["payload"]["value"] > 0:
        rated = completion(row)
        return ("thumb", parts.judged_part(row, rated)) if rated else None
    return None


def _example(row: Row, verdict: str, said: Answer) -> Example:
    return {
        "prompt": parts.prompt(row),
        "completion": said,
        "weight": WEIGHT[verdict],
        "signal": signal(row, verdict),
        "feedback_id": row["feedback_id"],
    }
