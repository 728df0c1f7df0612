"""Prompt, chosen, rejected.

- A comparison with a winner: the picked draft over each other one that was shown. A tie and "both
  bad" say nothing about which is better and give no pair. Nor do two drafts that were cut off: they
  drown the others (see `retrain.trainers.dpo`).
- A correction over the original only where the original was really worse: the same user rated it
  down, or edited it in substance. Pairing every edit taught one project's model to dislike good
  answers (tensorzero pull request 742).

Both sides of a pair are of one form, and of one part of an answer; see `retrain.parts`.
"""

from difflib import SequenceMatcher

from retrain import parts
from retrain.datasets import Example, signal
from retrain.rows import Answer, Row, completion, finished, picked

MADE_OF = "comparisons with a winner, corrections that change an answer in substance"
SAME_IN_SUBSTANCE = 0.8  # similarity from which an edit is polish: typos, punctuation, a word


def build(rows: list[Row]) -> list[Example]:
    rated_down = {
        parts.subject(row)
        for row in rows
        if row["kind"] == "rating" and row["payload"]["value"] < 0
    }
    pairs: list[Example] = []
    for row in rows:
        if pick := picked(row):
            chosen, others = pick
            told = [other for other in others if finished(chosen) or finished(other)]
            sides = [parts.alike([chosen, other]) for other in told]
            pairs += [_pair(row, "pick", *both) for both in sides if _differ(*both)]
        elif row["kind"] == "correction":
            pairs += _corrected(row, parts.subject(row) in rated_down)
    return pairs


def _differ(one: Answer, other: Answer) -> bool:
    """Whether there is a difference to learn, now that the two are in one form."""
    return bool(one[0]["content"] != other[0]["content"])


def _corrected(row: Row, rated_down: bool) -> list[Example]:
    found = completion(row)
    if found is None:
        return []
    original, better = parts.judged_part(row, found), parts.corrected(row)
    before, after = parts.words(original), parts.words(better)
    if before == after or not after:
        return []
    if not rated_down and similarity(before, after) >= SAME_IN_SUBSTANCE:
        return []
    return [_pair(row, "correction", better, original)]


def similarity(a: str, b: str) -> float:
    """0 to 1, blind to case and spacing (difflib's ratio over characters)."""
    one, other = (" ".join(text.casefold().split()) for text in (a, b))
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


def _pair(row: Row, verdict: str, chosen: Answer, rejected: Answer) -> Example:
    return {
        "prompt": parts.prompt(row),
        "chosen": chosen,
        "rejected": rejected,
        "signal": signal(row, verdict),
        "feedback_id": row["feedback_id"],
    }
