"""Whether several users correct alike: the same fact, in whatever words and phrasing.

Another user's correction backs one when it says what that one brought in: most of its new terms,
weighted by how few users use them, and all of its numbers, names, addresses and rare words; on a
question that has to do with the first, or in nearly the same text. So "45 days" and "The refund
window is 45 days." agree, "30 days" does not, and an advertisement added to what everybody says
stays alone.

A word is *rare* when too few users ever wrote or got it, nor one that differs at its end, such as
its plural. In a small record every other word would be, so none is until enough users have many
words in common; nor any in Chinese, whose pairs of characters are seldom words.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import log

from retrain.parts import on_reasoning
from retrain.rows import Row, completion, trusted, vouched_for
from retrain.terms import HAN, Terms, exact, jaccard, terms

COVERED = 0.7  # of the weight of what a correction brings in
RELATED = 0.3  # of the weight of the shorter question
SAME = 0.8  # Jaccard index from which two texts are one, if they are longer than
LONG = 5  # terms
LITTLE = 0.25  # of the weight of other words
SOUGHT = 5  # of the rarest new terms, by which others are looked up
MANY = 200  # words that enough users have, below which no word is rare
STEM = 4  # letters at least of a word's beginning
ENDING = 3  # letters at most in which forms of a word differ


@dataclass(frozen=True)
class _Said:
    row: Row
    text: Terms
    question: Terms
    new: Terms  # what neither the question nor the answer had
    exact: Terms  # the numbers, names, addresses and rare words of it


class Agreement:
    """The corrections among the rows, and who backs which."""

    def __init__(self, rows: Sequence[Row], least: int) -> None:
        self._least = least
        people, users = len({row["user_id"] for row in rows}), _users(rows)
        rare = _rare(users, max(2, least))
        found = [_said(row, rare) for row in rows if row["kind"] == "correction"]
        self._said = {said.row["feedback_id"]: said for said in found}
        self._with: dict[str, list[_Said]] = defaultdict(list)
        for said in found:
            for term in said.text:
                self._with[term].append(said)
        self._weights = _weights(users, people)

    def holds(self, row: Row) -> bool:
        """Whether enough users, or one who is trusted, say what the row says."""
        backers = self._backers(self._said[row["feedback_id"]])
        return any(_sure(other) or n >= self._least for n, other in enumerate(backers, 2))

    def people(self, row: Row) -> int:
        """How many users say what the row says, its own included."""
        return 1 + sum(1 for _ in self._backers(self._said[row["feedback_id"]]))

    def unsaid(self, row: Row, found: Terms) -> Terms:
        """Those of the terms that the question has not, and too few of who back the row say."""
        mine, users = self._said[row["feedback_id"]], Counter[str]()
        for other in self._backers(mine):
            users.update(dict.fromkeys(other.text, self._least if _sure(other) else 1))
        enough = {term for term, n in users.items() if n + 1 >= self._least}
        return frozenset(t for t in found - mine.question - enough if not _little(t))

    def _backers(self, mine: _Said) -> Iterator[_Said]:
        """One correction of each other user who backs it."""
        known = {mine.row["user_id"]}
        for other in self._candidates(mine):
            if other.row["user_id"] not in known and self._backs(other, mine):
                known.add(other.row["user_id"])
                yield other

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


def _users(rows: Sequence[Row]) -> dict[str, set[str]]:
    """Who has each term in what they wrote or got.

    By users, not rows: nobody makes a word common by saying it often.
    """
    users: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        texts = [c["text"] for c in row["completions"]] + [_question(row["messages"])]
        texts += [row["payload"]["text"]] if row["kind"] == "correction" else []
        for term in terms("\n".join(texts)):
            users[term].add(row["user_id"])
    return users


def _weights(users: dict[str, set[str]], people: int) -> dict[str, float]:
    """How much each term tells: the more, the fewer users have it."""
    return {
        term: log(1 + people / len(owners)) * (LITTLE if _little(term) else 1)
        for term, owners in users.items()
    }


def _little(term: str) -> bool:
    """Whether it is a short word, as those are that join others: known before much was said."""
    return term.isascii() and term.isalpha() and len(term) <= 3


def _rare(users: dict[str, set[str]], least: int) -> Terms:
    """The words that fewer users have, in any form."""
    words = [term for term in users if len(term) >= STEM and not HAN.search(term)]
    if sum(len(users[term]) >= least for term in words) < MANY:
        return frozenset()
    begun: dict[str, set[str]] = defaultdict(set)
    for term in words:
        for size in range(STEM, len(term) + 1):
            begun[term[:size]] |= users[term]
    stems = {term: term[: max(STEM, len(term) - ENDING)] for term in words}
    return frozenset(term for term, stem in stems.items() if len(begun[stem]) < least)


def _sure(said: _Said) -> bool:
    return trusted(said.row) or vouched_for(said.row)


def _said(row: Row, rare: Terms) -> _Said:
    told, asked = row["payload"]["text"], _question(row["messages"])
    text, question, original = terms(told), terms(asked), completion(row)
    before = terms(original["text"]) if original else frozenset[str]()
    new = text - question - before or text
    return _Said(row, text, question, new, (exact(told) | rare) & new)


def _question(messages: Sequence[Row]) -> str:
    asked = [m["content"] for m in messages if m["role"] == "user"]
    return asked[-1] if asked else ""
