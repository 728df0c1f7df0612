"""Cutting the history to the model's window: the newest whole turns stay."""

from collections.abc import Sequence
from dataclasses import dataclass

from serve.engines.base import Engine, Message

SYSTEM = ("system", "developer")


class WindowError(Exception):
    """The messages do not fit; the text names both token counts."""


@dataclass(frozen=True)
class Window:
    """The messages that are sent, their tokens, and how many turns they are and were left out."""

    messages: list[Message]
    prompt_ids: list[int]
    turns: int
    dropped: int


def fit_window(
    engine: Engine,
    messages: Sequence[Message],
    answer_tokens: int,
    history_turns: int = 0,
    truncate: bool = True,
) -> Window:
    """Messages that leave room for the answer.

    System messages and the newest turn always stay; older turns go first, whole, and all but the
    last `history_turns` (0: no limit). Room for the answer is `answer_tokens`, at most half of the
    window. Raises WindowError when the newest turn does not fit, or anything would have to go and
    `truncate` is false.
    """
    budget = engine.context_window - min(answer_tokens, engine.context_window // 2)
    system = [m for m in messages if m["role"] in SYSTEM]
    turns = _turns([m for m in messages if m["role"] not in SYSTEM])
    first = max(0, len(turns) - 1 - history_turns) if history_turns else 0
    for dropped in range(first, len(turns)):
        kept = system + [message for turn in turns[dropped:] for message in turn]
        prompt_ids = engine.encode_chat(kept)
        if len(prompt_ids) <= budget:
            return Window(kept, prompt_ids, len(turns) - dropped, dropped)
        if not truncate:
            raise _too_long(engine, "The conversation", len(prompt_ids), budget, "Start a new one")
    raise _too_long(engine, "The message", len(prompt_ids), budget, "Shorten it or split it")


def _turns(messages: Sequence[Message]) -> list[list[Message]]:
    turns: list[list[Message]] = []
    for message in messages:
        if message["role"] == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns


def _too_long(engine: Engine, what: str, tokens: int, budget: int, way_out: str) -> WindowError:
    return WindowError(
        f"{what} has {tokens} tokens; {engine.model} takes {budget} beside room for the answer "
        f"(window {engine.context_window}). {way_out}, or ask for fewer max_tokens."
    )
