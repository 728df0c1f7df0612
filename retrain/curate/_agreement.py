"""Whether several users correct alike: the same fact, in whatever words and phrasing.

Another user's correction backs one when it says what that one brought in: most of its new terms,
weighted by how few users use them, and all of its numbers and names; on a question that has to do
with the first, or in nearly the same text. So "45 days" and "The refund window is 45 days." agree,
"30 days" does not, and an advertisement added to what everybody says stays alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log

from retrain.parts import on_reasoning
from retrain.rows import Row, completion, trusted, vouched_for
from retrain.terms import Terms, exact, jaccard, terms

COVERED = 0.7  # of the weight of what a correction brings in
RELATED = 0.3  # of the weight of the shorter question
SAME = 0.8  # Jaccard index from which two texts are one, if they are longer than
LONG = 5  # terms
LITTLE = 0.25  # of the weight of other words
SOUGHT = 5  # of the rarest new terms, by which others are looked up


@dataclass(frozen=True)
class _Said:
    row: Row
    text: Terms
    question: Terms
    new: Terms  # what neither the question nor the answer had
    exact: Terms  # the numbers and names of it


class Agreement:
    """The corrections among the rows, and who backs which."""

    def __init__(self, rows: Sequence[Row], least: int) -> None:
        self._least = least
        found = [_said(row) for row in rows if row["kind"] == "correction"]
        self._said = {said.row["feedback_id"]: said for said in found}
        self._with: dict[str, list[_Said]] = defaultdict(list)
        for said in found:
            for term in said.text:
                self._with[term].append(said)
        self._weights = _weights(rows)

    def holds(self, row: Row) -> bool:
        """Whether enough users, or one who is trusted, say what the row says."""
        mine = self._said[row["feedback_id"]]
        backers = {row["user_id"]}
        for other in self._candidates(mine):
            if other.row["user_id"] not in backers and self._backs(other, mine):
                backers.add(other.row["user_id"])
                sure = trusted(other.row) or vouched_for(other.row)
                if sure or len(backers) >= self._least:
                    return True
        return False

    def people(self, row: Row) -> int:
        """How many users say what the row says, its own included."""
        mine = self._said[row["feedback_id"]]
        backers = {row["user_id"]}
        for other in self._candidates(mine):
            if other.row["user_id"] not in backers and self._backs(other, mine):
                backers.add(other.row["user_id"])
        return len(backers)

    def _candidates(self, mine: _Said) -> Iterable[_Said]:
        rarest = sorted(mine.exact or mine.new, key=lambda term: (len(self._with[term]), term))
        sought = rarest[: 1 if mine.exact else SOUGHT]
        return (other for term in sought for other in self._with[term])

    def _backs(self, other: _Said, mine: _Said) -> bool:
        if on_reasoning(other.row) is not on_reasoning(mine.row) or not mine.exact <= other.text:
            return False
        if self._share(mine.new & other.text, mine.new) < COVERED:
            return False
        if len(mine.text) > LONG and jaccard(mine.text, other.text) >= SAME:
            return True
        shorter = min(mine.question, other.question, key=len)
        return self._share(mine.question & other.question, shorter) >= RELATED

    def _share(self, part: Terms, whole: Terms) -> float:
        return self._weight(part) / (self._weight(whole) or 1)

    def _weight(self, found: Terms) -> float:
        return sum(self._weights.get(term, 0) for term in found)


def _weights(rows: Sequence[Row]) -> dict[str, float]:
    """How much each term tells: the more, the fewer users have it in what they wrote or got.

    By users, not rows: nobody makes a word common by saying it often.
    """
    users: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        texts = [c["text"] for c in row["completions"]] + [_question(row["messages"])]
        texts += [row["payload"]["text"]] if row["kind"] == "correction" else []
        for term in terms("\n".join(texts)):
            users[term].add(row["user_id"])
    people = len({row["user_id"] for row in rows})
    return {
        term: log(1 + people / len(owners)) * (LITTLE if _little(term) else 1)
        for term, owners in users.items()
    }


def _little(term: str) -> bool:
    """Whether it is a short word, as those are that join others: known before much was said."""
    return term.isascii() and term.isalpha() and len(term) <= 3


def _said(row: Row) -> _Said:
    told, asked = row["payload"]["text"], _question(row["messages"])
    text, question, original = terms(told), terms(asked), completion(row)
    before = terms(original["text"]) if original else frozenset[str]()
    new = text - question - before or text
    return _Said(row, text, question, new, exact(told) & new)


def _question(messages: Sequence[Row]) -> str:
    asked = [m["content"] for m in messages if m["role"] == "user"]
    return asked[-1] if asked else ""
