"""What the teacher was paid and what it said for it, in one SQLite file: durable before it is used.

Tokens that are set aside for requests under way count as spent. Those of a process that died stay
so, as their requests may have been answered.
"""

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrain.corpus.stage import CorpusError
from retrain.corpus.teacher.wire import Reply
from serve.settings import Settings

MILLION = 1_000_000
TABLES = """
CREATE TABLE IF NOT EXISTS answers (
  request TEXT PRIMARY KEY, text TEXT NOT NULL, finish TEXT NOT NULL,
  tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, at TEXT DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE IF NOT EXISTS charges (
  request TEXT NOT NULL, tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL,
  why TEXT NOT NULL, at TEXT DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE IF NOT EXISTS pending (
  request TEXT PRIMARY KEY, tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL);
"""


class OverBudget(CorpusError):
    """The next request could pass the budget; what is done is kept."""


@dataclass(frozen=True)
class Bound:
    """Tokens of a request and its answer, or the most that these can be."""

    tokens_in: int
    tokens_out: int

    @property
    def total(self) -> int:
        return self.tokens_in + self.tokens_out

    def __add__(self, other: "Bound") -> "Bound":
        return Bound(self.tokens_in + other.tokens_in, self.tokens_out + other.tokens_out)


@dataclass(frozen=True)
class Prices:
    """Money a million tokens, and the tokens that are free; in one currency, whichever it is."""

    tokens_in: float
    tokens_out: float
    free: int

    def cost(self, used: Bound) -> float:
        """What it costs at most: free tokens count as those of the lower price."""
        paid = used.tokens_in * self.tokens_in + used.tokens_out * self.tokens_out
        free = min(self.free, used.total) * min(self.tokens_in, self.tokens_out)
        return (paid - free) / MILLION


@dataclass(frozen=True)
class Limits:
    """The most money and tokens that a corpus may cost; 0: any."""

    money: float
    tokens: int


class Account:
    """The file at `path`. Safe to be used from many threads of one process."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.prices = Prices(
            settings.teacher_price_in, settings.teacher_price_out, settings.teacher_free_tokens
        )
        self.limits = Limits(settings.teacher_budget, settings.teacher_budget_tokens)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._base = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._base.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; {TABLES}")
        self._settle_dead()
        self._pending: dict[str, Bound] = {}
        self._busy: set[str] = set()
        self._spent = self._total()
        self._changed = threading.Condition()

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Only one thread asks for the same: the others find its answer."""
        with self._changed:
            self._changed.wait_for(lambda: name not in self._busy)
            self._busy.add(name)
        try:
            yield
        finally:
            with self._changed:
                self._busy.discard(name)
                self._changed.notify_all()

    def known(self, name: str) -> Reply | None:
        """The answer that was paid for before."""
        with self._changed:
            found = self._base.execute(
                "SELECT text, finish, tokens_in, tokens_out FROM answers WHERE request = ?", (name,)
            ).fetchone()
        return Reply(*found) if found else None

    def reserve(self, name: str, bound: Bound) -> None:
        """Set the tokens aside; waits while only what others have set aside is in the way.

        Raises OverBudget when it could pass the budget whatever becomes of the others.
        """
        with self._changed:
            while not self._fits(self.used + bound):
                if not self._pending or not self._fits(self._spent + bound):
                    raise OverBudget(self._over(bound))
                self._changed.wait()
            self._pending[name] = bound
            self._base.execute(
                "INSERT INTO pending VALUES (?, ?, ?)", (name, bound.tokens_in, bound.tokens_out)
            )

    def reserved(self, name: str) -> Bound:
        return self._pending[name]

    def release(self, name: str) -> None:
        """The request was not answered, and nothing is to pay for it."""
        with self._settling(name):
            pass

    def charge(self, name: str, used: Bound, why: str) -> None:
        """It is to be paid, though no answer came of it."""
        with self._settling(name):
            self._pay(name, used, why)

    def keep(self, name: str, bound: Bound, reply: Reply) -> None:
        """Pay for an answer and keep it, in one transaction.

        Where the server does not say what it took, the most is charged.
        """
        told = reply.tokens_in is not None and reply.tokens_out is not None
        used = Bound(reply.tokens_in or 0, reply.tokens_out or 0) if told else bound
        with self._settling(name):
            self._base.execute(
                "INSERT INTO answers (request, text, finish, tokens_in, tokens_out) "
                "VALUES (?, ?, ?, ?, ?)",
                (name, reply.text, reply.finish, used.tokens_in, used.tokens_out),
            )
            self._pay(name, used, "answered")

    @property
    def used(self) -> Bound:
        """Tokens paid and set aside."""
        return sum(self._pending.values(), self._spent)

    @property
    def spent(self) -> Bound:
        return self._spent

    @property
    def money(self) -> float:
        """What was paid so far, at most."""
        return self.prices.cost(self._spent)

    def lost(self) -> Counter[str]:
        """Tokens that were paid without an answer, by the reason."""
        found = self._base.execute(
            "SELECT why, sum(tokens_in + tokens_out) FROM charges WHERE why != 'answered' "
            "GROUP BY why"
        )
        return Counter(dict(found.fetchall()))

    def close(self) -> None:
        self._base.close()

    @contextmanager
    def _settling(self, name: str) -> Iterator[None]:
        with self._changed:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._base.execute("DELETE FROM pending WHERE request = ?", (name,))
                self._base.execute("COMMIT")
            except BaseException:
                self._base.execute("ROLLBACK")
                raise
            self._pending.pop(name, None)
            self._spent = self._total()
            self._changed.notify_all()

    def _pay(self, name: str, used: Bound, why: str) -> None:
        self._base.execute(
            "INSERT INTO charges (request, tokens_in, tokens_out, why) VALUES (?, ?, ?, ?)",
            (name, used.tokens_in, used.tokens_out, why),
        )

    def _settle_dead(self) -> None:
        """What a process that died had under way may have been answered: it is charged."""
        self._base.executescript(
            "BEGIN IMMEDIATE; INSERT INTO charges (request, tokens_in, tokens_out, why) "
            "SELECT request, tokens_in, tokens_out, 'killed' FROM pending; "
            "DELETE FROM pending; COMMIT;"
        )

    def _total(self) -> Bound:
        row: Any = self._base.execute(
            "SELECT coalesce(sum(tokens_in), 0), coalesce(sum(tokens_out), 0) FROM charges"
        ).fetchone()
        return Bound(*row)

    def _fits(self, used: Bound) -> bool:
        money, tokens = self.limits.money, self.limits.tokens
        within = not tokens or used.total <= tokens
        return within and (not money or self.prices.cost(used) <= money)

    def _over(self, bound: Bound) -> str:
        spent = f"{self._spent.total:,} tokens ({self.money:.4f})"
        money, tokens = self.limits.money, self.limits.tokens
        limits = [f"REDRAFT_TEACHER_BUDGET_TOKENS {tokens:,}"] if tokens else []
        limits += [f"REDRAFT_TEACHER_BUDGET {money:g}"] if money else []
        return (
            f"The budget is used up: {spent} are spent of {' and '.join(limits)}, and the next "
            f"request may take {bound.total:,}. Raise it, and the same command goes on."
        )
