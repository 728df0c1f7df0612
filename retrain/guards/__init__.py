"""Things that must not regress, one file each: `check(bench) -> Guard`.

A guard compares the candidate with what serves now, on its own prompts, and holds when the
candidate is within the guard's margin. Answers are the dear part: guards that look at the same
prompts read the same ones (`Bench.write`), and some ask for the champion's only in doubt.
"""

import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from serve.engines.base import Engine, Sampling

log = logging.getLogger("redraft")

Messages = Sequence[dict[str, Any]]
LENGTH = 96  # tokens; a small model's loops show within 40, drift and lists need more
AT_ONCE = 8  # answers that the engine writes together
HELD_OUT = 8  # prompts of held-out feedback that are looked at
GENERAL = (
    "What should I pack for a weekend in the mountains?",
    "Explain in a few sentences why the sky is blue.",
    "Write a short, friendly message to thank a colleague for her help.",
    "List three ways to save energy at home.",
)


@dataclass(frozen=True)
class Written:
    """A greedy answer of at most LENGTH tokens; `finished` by its writer, not by that limit."""

    text: str
    token_ids: tuple[int, ...]
    finished: bool


@dataclass(frozen=True)
class Bench:
    """What a guard may use. The champion None is the base model."""

    engine: Engine
    champion: str | None
    candidate: str
    prompts: Sequence[Messages]  # of held-out feedback, a few
    answer_first: Sequence[Messages] = ()  # those whose answers put the conclusion first
    rewriters: tuple[str | None, str] | None = None  # (serving, new): where one was trained
    suites: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)  # by name
    beat: Callable[[], None] = lambda: None  # called between answers: the run is alive
    _answers: dict[tuple[str, str | None], Written] = field(default_factory=dict, repr=False)

    def sample(self) -> list[Messages]:
        """The prompts that guards share: a few of held-out feedback, and general ones."""
        return [*self.prompts[:HELD_OUT], *map(asked, GENERAL)]

    def write(self, prompts: Sequence[Messages], adapter: str | None) -> list[Written]:
        """The adapter's answers to the prompts, in order; each is written once a run."""
        keys = [(repr(messages), adapter) for messages in prompts]
        missing = {k: m for k, m in zip(keys, prompts, strict=True) if k not in self._answers}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = pool.map(lambda messages: self._write(messages, adapter), missing.values())
            for key, answer in zip(missing, found, strict=True):
                self._answers[key] = answer
                self.beat()
        return [self._answers[key] for key in keys]

    def quote(self, messages: Messages, answer: Written) -> str:
        """The beginning of an answer, on one line; nothing of one to what people here wrote.

        It may repeat them, and what a guard says is kept where forgetting does not reach.
        """
        if messages in (*self.prompts, *self.answer_first):
            return "an answer to held-out feedback"
        return repr(" ".join(answer.text.split())[:80])

    def written(self) -> int:
        """How many answers were written so far."""
        return len(self._answers)

    def _write(self, messages: Messages, adapter: str | None) -> Written:
        greedy = Sampling(max_tokens=LENGTH, temperature=0.0)
        chunks = list(
            self.engine.generate(self.engine.encode_chat(list(messages)), greedy, adapter)
        )
        ids = tuple(i for c in chunks for i in c.token_ids)
        ends = any(c.finish_reason == "stop" for c in chunks)
        return Written("".join(c.text for c in chunks), ids, ends)


@dataclass(frozen=True)
class Guard:
    """What a guard found; `limit` is the worst value with which it holds."""

    name: str
    held: bool
    champion: float | None
    candidate: float
    limit: float
    detail: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def asked(question: str) -> Messages:
    """A conversation that opens with the question."""
    return [{"role": "user", "content": question}]


def names() -> list[str]:
    """The guards in this folder."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))


def check(name: str, bench: Bench) -> Guard | None:
    """Run one guard; None when there is nothing for it to look at."""
    before = bench.written()
    guard: Guard | None = importlib.import_module(f"retrain.guards.{name}").check(bench)
    if guard is not None:
        said = "held" if guard.held else "REGRESSED"
        log.info("Guard %s %s (%d answers): %s", name, said, bench.written() - before, guard.detail)
    return guard
