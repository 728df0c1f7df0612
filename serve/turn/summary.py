"""A running summary of the turns that the window left out: continued, not made anew."""

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields as fields_of, replace
from typing import Any

from feedback.fields import mended
from prompts import PromptError, load_prompt
from serve.engines.base import Engine, EngineError, Message, Sampling
from serve.turn.rewriting.checks import loops
from serve.turn.rewriting.chinese import is_chinese
from serve.turn.timed import TimeBudget, Unfinished, read_in_time

log = logging.getLogger("redraft")
# (newest messages, characters of each) that the prompt shows: the first that fits the window.
SHOWN = ((24, 600), (24, 200), (12, 100), (4, 60), (1, 60))
# Marks that many templates read as the chat's own, and lines of a dialogue that was copied.
MARKS = re.compile(r"<\|[^|]*\|>|</?s>|\b(?:user|assistant|system)\s*:|(?:用户|助手)：", re.I)
PREFIX = re.compile(r"^(?:earlier|notes|summary|已有的要点|要点|概括|摘要)\s*[:：]\s*", re.I)
SENTENCE = re.compile(r".*[.!?。！？]", re.S)


@dataclass(frozen=True)
class Summary:
    """What stands for the `turns` oldest turns, or in `fallback` why nothing does.

    `digest` is of the messages of these turns, so that only what they continue takes it up;
    `unread` counts messages of them that the prompt had no room for.
    """

    text: str = ""
    turns: int = 0
    digest: str = ""
    prompt_hash: str = ""
    unread: int = 0
    continued: int = 0  # turns that the summary it goes on from stood for
    fallback: str | None = None
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, recorded: Mapping[str, Any]) -> "Summary":
        """The summary as it was recorded, by this version or another."""
        known = {field.name for field in fields_of(cls)}
        return cls(**{name: value for name, value in recorded.items() if name in known})


class Summariser:
    """Writes summaries with the base weights, greedily. Safe to call from many threads."""

    def __init__(self, engine: Engine, budget_seconds: float) -> None:
        self.engine, self.budget_seconds = engine, budget_seconds
        self._asks, self._tells = load_prompt("chat/summary"), load_prompt("chat/earlier")

    def note(self, text: str, chinese: bool) -> str:
        """A summary as it stands in the system message."""
        return self._tells.render(notes=text, chinese=chinese)

    def summarise(
        self,
        turns: Sequence[Sequence[Message]],
        earlier: Iterable[Summary],
        chinese: bool,
        tokens: int,
    ) -> Summary:
        """A summary of `turns` of at most `tokens`. Never raises for what an engine does.

        The best of the `earlier` ones is continued with the turns it does not stand for, and is
        the answer where there are none.
        """
        budget = TimeBudget(self.budget_seconds)
        known = _furthest(earlier, turns) or Summary()
        if known.turns == len(turns) and is_chinese(known.text) == chinese:
            return replace(known, seconds=budget.spent)
        new = [message for turn in turns[known.turns :] for message in turn]
        try:
            text, unread = self._written(known.text, new, chinese, tokens, budget)
            fault = _fault(text, chinese)
        except Exception as error:  # an engine's own kinds; a summary must never cost the turn
            text, unread, fault = "", 0, why_not(error)
        if fault is not None:
            log.info("The window goes without a summary: %s.", fault)
            return Summary(turns=len(turns), fallback=fault, seconds=budget.spent)
        made = Summary(text, len(turns), digest(turns), self._asks.hash, known.unread + unread)
        return replace(made, continued=known.turns, seconds=budget.spent)

    def _written(
        self,
        notes: str,
        new: Sequence[Message],
        chinese: bool,
        tokens: int,
        budget: TimeBudget,
    ) -> tuple[str, int]:
        """(the summary in one line, how many of the messages its prompt had no room for)."""
        prompt_ids, shown = self._prompt(notes, new, chinese, tokens)
        sampling = Sampling(max_tokens=tokens, temperature=0.0)
        text, finish = read_in_time(self.engine, prompt_ids, sampling, None, budget)
        text = PREFIX.sub("", " ".join(mended(text).split()))
        return (_whole(text) if finish == "length" else text), len(new) - shown

    def _prompt(
        self, notes: str, new: Sequence[Message], chinese: bool, tokens: int
    ) -> tuple[list[int], int]:
        """(tokens, messages shown) of the fullest prompt that leaves room for `tokens`."""
        for count, room in SHOWN:
            shown = new[-count:]
            asked = self._asks.render(
                chinese=chinese, notes=notes, messages=shown, room=room, words=max(8, tokens // 2)
            )
            prompt_ids = self.engine.encode_chat(_chat(asked))
            if len(prompt_ids) + tokens <= self.engine.context_window:
                return prompt_ids, len(shown)
        raise EngineError("what was left out does not fit the window of the summary's own prompt")


def digest(turns: Sequence[Sequence[Message]]) -> str:
    """Names the messages of the turns."""
    said = [[message["role"], message["content"]] for turn in turns for message in turn]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


def _furthest(earlier: Iterable[Summary], turns: Sequence[Sequence[Message]]) -> Summary | None:
    """The one that stands for the most of these very turns: an edited history takes up none."""
    able = [one for one in earlier if one.text and 0 < one.turns <= len(turns)]
    for one in sorted(able, key=lambda one: -one.turns):
        if one.digest == digest(turns[: one.turns]):
            return one
    return None


def _chat(asked: str) -> list[Message]:
    system, _, user = asked.partition("\n")
    return [{"role": "system", "content": system}, {"role": "user", "content": user.strip()}]


def _whole(text: str) -> str:
    """A text that was cut, up to its last whole sentence."""
    found = SENTENCE.match(text)
    return found.group() if found else f"{text}…"


def _fault(text: str, chinese: bool) -> str | None:
    if not any(char.isalnum() for char in text):
        return "the summary was empty"
    if MARKS.search(text):
        return "the summary held marks of a dialogue"
    if loops(text):
        return "the summary repeated itself"
    if is_chinese(text) != chinese:
        return "the summary left the user's language"
    return None


def why_not(error: Exception) -> str:
    """Why there is no summary, in words."""
    if isinstance(error, Unfinished):
        return str(error)
    if isinstance(error, EngineError | PromptError):
        return f"the engine could not: {error}"
    log.error("The summary broke; the turn goes on without one.", exc_info=error)
    return f"the engine broke: {type(error).__name__}"
