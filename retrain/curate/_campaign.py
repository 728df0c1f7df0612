"""Terms that one user's verdicts teach and nobody else's do, such as the name of a product.

*Picks*: the chosen draft has the term and the others have not, far more often than the other way
round (sign test). The subject of the prompt, which all drafts share, is no evidence.
*Thumbs*: many praised answers have the term, by more than chance (Fisher's exact test) of what
others judged, and of what the same user rated down. Nothing shows there what the prompt asked for,
so more rows are wanted: a person may well have a subject of their own. Very many on a subject are
a lesson all the same.

Either way a term is common, not one user's, where enough others favour it at a tenth of that rate.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import comb

from retrain.parts import on_reasoning
from retrain.rows import Row, completion, picked, trusted
from retrain.terms import Terms, chance, terms

RECURS = 10  # picks
SUBJECT = 20  # praised answers
MANY = 50  # praised answers, whatever was rated down
CONTRAST = 10  # answers rated down that make a comparison
RARE = 1e-3  # chance below which it is none
ECHO = 0.1  # of the rate of a user, at which another one favours the same


@dataclass
class _Voice:
    """What one user's verdicts favour: how many rows have each term on which side."""

    picked: Counter[str] = field(default_factory=Counter)  # in the winner alone
    passed: Counter[str] = field(default_factory=Counter)  # in losers alone
    praised: Counter[str] = field(default_factory=Counter)
    blamed: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)  # in any winner
    met: Counter[str] = field(default_factory=Counter)  # in any answer
    picks: int = 0
    ups: int = 0
    downs: int = 0

    def hears(self, row: Row) -> None:
        winner, loser = _sides(row)
        self.kept.update(winner or ())
        self.met.update((winner or frozenset()) | (loser or frozenset()))
        if winner is not None and loser is not None:
            self.picks += 1
            self.picked.update(winner - loser)
            self.passed.update(loser - winner)
        elif winner is not None:
            self.ups += 1
            self.praised.update(winner)
        elif loser is not None:
            self.downs += 1
            self.blamed.update(loser)

    def teaches(self, term: str) -> float:
        """The share of what the user stands for that brings the term in."""
        return (self.picked[term] + self.praised[term]) / (self.picks + self.ups or 1)

    def echoes(self, term: str, rate: float) -> bool:
        """Whether the user stands for answers with the term at that rate at least."""
        return self.kept[term] >= max(1, rate * (self.picks + self.ups))


def taught_alone(rows: Sequence[Row], least: int) -> dict[str, Terms]:
    """By feedback id, of rows that favour terms which fewer than `least` users do, those terms."""
    voices: dict[str, _Voice] = {}
    for row in rows:
        voices.setdefault(row["user_id"], _Voice()).hears(row)
    reviewers = {row["user_id"] for row in rows if trusted(row)}
    alone = {
        user: _alone(user, voices, reviewers, least) for user in voices if user not in reviewers
    }
    favoured = {row["feedback_id"]: _favours(row, alone.get(row["user_id"])) for row in rows}
    return {id: found for id, found in favoured.items() if found}


def _favours(row: Row, found: Terms | None) -> Terms:
    winner, loser = _sides(row) if found else (None, None)
    return (winner - (loser or frozenset())) & found if winner and found else frozenset()


def _sides(row: Row) -> tuple[Terms | None, Terms | None]:
    """The terms of (what the row stands for, what it stands against)."""
    if pick := picked(row):
        return terms(pick[0]["text"]), terms("\n".join(other["text"] for other in pick[1]))
    about = completion(row)
    if about is None or row["kind"] not in ("rating", "correction"):
        return None, None
    judged = terms(about["reasoning"]["text"] if on_reasoning(row) else about["text"])
    if row["kind"] == "correction":
        return terms(row["payload"]["text"]), judged
    return (judged, None) if row["payload"]["value"] > 0 else (None, judged)


def _alone(user: str, voices: dict[str, _Voice], reviewers: Collection[str], least: int) -> Terms:
    mine = voices[user]
    others = {name: voice for name, voice in voices.items() if name != user}
    recur = [term for term, n in mine.picked.items() if n >= RECURS]
    recur += [term for term, n in mine.praised.items() if n >= SUBJECT]
    found = set()
    for term in recur:
        rate = ECHO * mine.teaches(term)
        echo = {name for name, voice in others.items() if voice.echoes(term, rate)}
        common = len(echo) + 1 >= least or any(name in reviewers for name in echo)
        if not common and (_picks(mine, term) or _praises(mine, term, others.values())):
            found.add(term)
    return frozenset(found)


def _picks(mine: _Voice, term: str) -> bool:
    """Whether picks are for the term by more than chance: the sign test over those that differ."""
    wins, of = mine.picked[term], mine.picked[term] + mine.passed[term]
    if wins < RECURS:
        return False
    ways: int = sum(map(partial(comb, of), range(wins, of + 1)))
    return ways * round(1 / RARE) < 1 << of  # in integers: 2.0**of has an end


def _praises(mine: _Voice, term: str, others: Iterable[_Voice]) -> bool:
    ups = mine.praised[term]
    if ups < SUBJECT:
        return False
    voices = list(others)
    met = sum(voice.met[term] for voice in voices)
    if chance(ups, mine.ups, met, sum(v.ups + v.downs + v.picks for v in voices)) >= RARE:
        return False
    if ups >= MANY or mine.downs < CONTRAST:
        return True
    return chance(ups, mine.ups, mine.blamed[term], mine.downs) < RARE
