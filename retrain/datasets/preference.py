"""Prompt, chosen, rejected.

- A comparison with a winner: the picked draft over each other one that was shown. A tie and "both
  bad" say nothing about which is better and give no pair. Nor do two drafts that were cut off: they
  drown the others (see `retrain.trainers.dpo`).
- A correction over the original only where the original was really worse: the same user rated it
  down, or edited it in substance. Pairing every edit taught one project's model to dislike good
  answers (tensorzero pull request 742).
"""

from difflib import SequenceMatcher

from retrain.datasets import Example
from retrain.rows import Row, answer, completion, draft, finished, picked

MADE_OF = "comparisons with a winner, corrections that change an answer in substance"
Answer = list[dict[str, str]]
SAME_IN_SUBSTANCE = 0.8  # similarity from which an edit is polish: typos, punctuation, a word


def build(rows: list[Row]) -> list[Example]:
    rated_down = {
        (row["user_id"], row["completion_id"])
        for row in rows
        if row["kind"] == "rating" and row["payload"]["value"] < 0
    }
    pairs: list[Example] = []
    for row in rows:
        if pick := picked(row):
            chosen, others = pick
            told = [other for other in others if finished(chosen) or finished(other)]
            pairs += [_pair(row, "pick", draft(chosen), draft(other)) for other in told]
        elif row["kind"] == "correction":
            pairs += _corrected(row, (row["user_id"], row["completion_id"]) in rated_down)
    return pairs


def _corrected(row: Row, rated_down: bool) -> list[Example]:
    original, text = completion(row), row["payload"]["text"]
    if original is None or original["text"].strip() == text.strip():
        return []
    if not rated_down and similarity(original["text"], text) >= SAME_IN_SUBSTANCE:
        return []
    return [_pair(row, "correction", answer(text), draft(original))]


def similarity(a: str, b: str) -> float:
    """0 to 1, blind to case and spacing (difflib's ratio over characters)."""
    one, other = (" ".join(text.casefold().split()) for text in (a, b))
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


def _pair(row: Row, signal: str, chosen: Answer, rejected: Answer) -> Example:
    return {
        "prompt": row["messages"],
        "chosen": chosen,
        "rejected": rejected,
        "signal": signal,
        "feedback_id": row["feedback_id"],
    }
