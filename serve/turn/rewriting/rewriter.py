"""Say a question so that it stands alone, or leave it: within a time budget, and checked."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prompts import Prompt, PromptError, load_prompt
from prompts.answer_first import DELIMITER
from prompts.rewriting import rewriting_messages
from serve.engines import says
from serve.engines.base import Engine, EngineError, Sampling
from serve.turn.rewriting.adapters import adapter_name, find_adapter
from serve.turn.rewriting.checks import CJK, LATIN, find_fault
from serve.turn.rewriting.detector import needs_rewrite
from serve.turn.timed import TimeBudget, Unfinished, read_in_time

log = logging.getLogger("redraft")
Message = Mapping[str, str]
FIRST, LAST, LONGEST = 2, 10, 1200  # messages and characters that a prompt can look at
REASONING_TOKENS = 160
PREFIX = re.compile(
    r"^(?:standalone question|rewritten question|rewrite|独立问题|改写后?)\s*[:：]\s*", re.I
)


@dataclass(frozen=True)
class Rewrite:
    """What became of a question; `fallback` says why the user's own words stayed after a try.

    `reasoning` is the model's own, "" where it wrote none; None where the model was not asked.
    """

    query: str
    rewritten_query: str
    changed: bool
    reason: str
    fallback: str | None = None
    seconds: float = 0.0
    reasoning: str | None = None


class Rewriter:
    """Rewrites with the adapter when there is one, else zero-shot with worked examples.

    `prompts` holds "adapter", "en" and "zh". Safe to call from many threads.
    """

    def __init__(
        self,
        engine: Engine,
        adapter_name: str | None,
        prompts: Mapping[str, Prompt],
        budget_seconds: float,
    ) -> None:
        self.engine, self.adapter_name = engine, adapter_name
        self.prompts, self.budget_seconds = prompts, budget_seconds

    def rewrite(self, history: Sequence[Message], query: str, reason: bool = False) -> Rewrite:
        """The question as it stands alone. Never raises for what an engine does or a user writes.

        With `reason` the model goes on past the delimiter and its reasoning is in `reason`;
        otherwise that is what the detector saw.
        """
        budget = TimeBudget(self.budget_seconds)
        turns = usable(history)
        verdict = needs_rewrite(turns, query)
        if not verdict.needed:
            return Rewrite(query, query, False, verdict.reason, None, budget.spent)
        fault: str | None
        try:
            answer = self._answer(turns, query, reason, budget)
            text, _, why = answer.partition(DELIMITER)
            text = PREFIX.sub("", text.strip())
            fault = find_fault(turns, query, text)
        except Unfinished as unfinished:
            text, why, fault = "", "", str(unfinished)
        except (EngineError, PromptError) as error:
            text, why, fault = "", "", f"the engine could not: {error}"
        except Exception as error:  # an engine's own kinds; a rewrite must never cost the turn
            log.exception("The rewriter broke; the user's own words are used.")
            text, why, fault = "", "", f"the engine broke: {type(error).__name__}"
        why = why.strip()
        if fault is not None:
            log.info("Question left as it is: %s.", fault)
            return Rewrite(query, query, False, verdict.reason, fault, budget.spent, why)
        if text == query.strip():
            text = query
        said = why or verdict.reason
        return Rewrite(query, text, text != query, said, None, budget.spent, why)

    def _answer(
        self, turns: Sequence[Message], query: str, reason: bool, budget: TimeBudget
    ) -> str:
        messages = rewriting_messages(self._prompt(query), turns, query)
        room = 48 + 2 * len(self.engine.encode(query))
        sampling = Sampling(
            max_tokens=room + REASONING_TOKENS * reason,
            temperature=0.0,
            stop=() if reason else (DELIMITER,),
        )
        try:
            return self._read(self.engine.encode_chat(messages), sampling, budget)
        except Unfinished as unfinished:
            if DELIMITER in unfinished.text:  # only the reasoning is cut
                return unfinished.text
            raise

    def _prompt(self, query: str) -> Prompt:
        if self.adapter_name is not None:
            return self.prompts["adapter"]
        chinese = len(CJK.findall(query)) * 2 > len(LATIN.findall(query))
        return self.prompts["zh" if chinese else "en"]

    def _read(self, prompt_ids: list[int], sampling: Sampling, budget: TimeBudget) -> str:
        """The whole answer. Raises Unfinished when it has no end, or not in time."""
        text, finish = read_in_time(self.engine, prompt_ids, sampling, self.adapter_name, budget)
        if finish == "length":
            raise Unfinished("the rewrite found no end", text)
        return text


def load_prompts() -> dict[str, Prompt]:
    """The prompts of a Rewriter, by what they are for."""
    return {name: load_prompt(f"rewrite/{name}") for name in ("adapter", "en", "zh")}


def open_rewriter(engine: Engine, home: Path | None, budget_seconds: float) -> Rewriter:
    """A rewriter with the adapter of the engine's base model; zero-shot when there is none."""
    path = find_adapter(engine.model, home, shipped=not says(engine.name, "SCRIPTED"))
    name = None
    if path is not None:
        name = adapter_name(path)
        try:
            if name not in engine.adapters():
                engine.load_adapter(name, path)
        except EngineError as error:
            log.warning("%s Questions are rewritten without it.", error)
            name = None
    return Rewriter(engine, name, load_prompts(), budget_seconds)


def usable(history: Sequence[Message]) -> list[dict[str, str]]:
    """The messages that a prompt looks at, of a length that costs no time."""
    turns = [
        {"role": str(m.get("role", "user")), "content": str(m["content"])[:LONGEST]}
        for m in history
        if m.get("role") in ("user", "assistant") and str(m.get("content") or "").strip()
    ]
    return turns if len(turns) <= FIRST + LAST else turns[:FIRST] + turns[-LAST:]
