"""Questions and answers about facts (Self-KV): keys with values, and knowledge triples.

What the tables and records of a unit hold is taken apart into facts (`retrain.corpus.facts`) which
the teacher puts in words. Self-QA (Zhang and Yang 2023, arXiv 2305.11952) turns structured data
into text first and asks about that; here the teacher sees the facts themselves, so that no cell is
taken for one of another row or column.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from retrain.corpus.asking import texts
from retrain.corpus.facts import facts_of
from retrain.corpus.kinds._kind import ANSWER, QUESTION, Claim, Kind
from retrain.corpus.kinds.qa import fit
from retrain.corpus.stage import Row

MOST = 60  # facts in a request


def about(unit: Row, document: Row) -> Mapping[str, Any] | None:
    facts = facts_of(unit, document)
    return {"facts": facts[:MOST]} if facts else None


def claims(row: Row, content: str | None) -> Iterable[Claim]:
    """The theme says what a key and its value are about, so it bears an answer out as well."""
    return [Claim(row["question"], row["answer"], f"{row['theme']}\n{content}")]


KIND = Kind(
    items="pairs",
    item=texts(question=QUESTION, answer=ANSWER),
    tokens=400,
    fit=fit,
    claims=claims,
    about=about,
)
