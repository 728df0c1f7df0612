"""Cutting the history to the model's window: the newest whole turns stay."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from serve.engines.base import Engine, Message, Tool

SYSTEM = ("system", "developer")
BUDGET, LIMIT = "the token budget", "REDRAFT_HISTORY_TURNS"  # why turns were left out


class WindowError(Exception):
    """The messages do not fit; the text names both token counts."""


@dataclass(frozen=True)
class Window:
    """The messages that are sent and their tokens, at most `budget` of them.

    `turns` is how many turns they are, `left_out` the older turns that are not among them, and
    `why` says in words what left them out, None where all are there.
    """

    messages: list[Message]
    prompt_ids: list[int]
    turns: int
    left_out: list[list[Message]]
    budget: int
    why: str | None = None
    tools: Sequence[Tool] = ()

    @property
    def dropped(self) -> int:
        return len(self.left_out)


def fit_window(
    engine: Engine,
    messages: Sequence[Message],
    answer_tokens: int,
    history_turns: int = 0,
    truncate: bool = True,
    no_history: str | None = None,
    tools: Sequence[Tool] = (),
) -> Window:
    """Messages that leave room for the answer.

    System messages and the newest turn always stay; older turns go first, whole, and all but the
    last `history_turns` (0: no limit); all of them where `no_history` says why. Room for the answer
    is `answer_tokens`, at most half of the window. Raises WindowError when the newest turn does not
    fit, or anything would have to go and `truncate` is false.
    """
    budget = engine.context_window - min(answer_tokens, engine.context_window // 2)
    system, turns = _parts(messages)
    last = len(turns) - 1
    first = last if no_history else max(0, last - history_turns) if history_turns else 0
    for dropped in range(first, len(turns)):
        kept = system + _joined(turns[dropped:])
        prompt_ids = engine.encode_chat(kept, tools)
        if len(prompt_ids) <= budget:
            why = BUDGET if dropped > first else (no_history or LIMIT) if dropped else None
            stay = len(turns) - dropped
            return Window(kept, prompt_ids, stay, turns[:dropped], budget, why, tools)
        if not truncate:
            raise _too_long(engine, "The conversation", len(prompt_ids), budget, "Start a new one")
    raise _too_long(engine, "The message", len(prompt_ids), budget, "Shorten it or split it")


def leave_room(engine: Engine, window: Window, tokens: int, truncate: bool = True) -> Window | None:
    """The window with so many old turns fewer that `tokens` more fit; None when they never do.

    No turn goes for them when `truncate` is false.
    """
    system, turns = _parts(window.messages)
    for more in range(len(turns) if truncate else 1):
        kept = system + _joined(turns[more:])
        prompt_ids = engine.encode_chat(kept, window.tools) if more else window.prompt_ids
        if len(prompt_ids) + tokens <= window.budget:
            return replace(
                window,
                messages=kept,
                prompt_ids=prompt_ids,
                turns=len(turns) - more,
                left_out=[*window.left_out, *turns[:more]],
                why=BUDGET if more else window.why,
            )
    return None


def with_note(engine: Engine, window: Window, note: str) -> Window | None:
    """The window with `note` at the end of its first system message; None when it does not fit.

    Without a system message the note is one: many chat templates take one alone, and first.
    """
    messages = noted(window.messages, note)
    prompt_ids = engine.encode_chat(messages, window.tools)
    if len(prompt_ids) > window.budget:
        return None
    return replace(window, messages=messages, prompt_ids=prompt_ids)


def noted(messages: Sequence[Message], note: str) -> list[Message]:
    """The messages with `note` in the system's."""
    at = next((i for i, m in enumerate(messages) if m["role"] in SYSTEM), None)
    if at is None:
        return [{"role": "system", "content": note}, *messages]
    told = {**messages[at], "content": f"{messages[at]['content']}\n\n{note}"}
    return [*messages[:at], told, *messages[at + 1 :]]


def _parts(messages: Sequence[Message]) -> tuple[list[Message], list[list[Message]]]:
    """(system messages, turns)."""
    system = [m for m in messages if m["role"] in SYSTEM]
    return system, _turns([m for m in messages if m["role"] not in SYSTEM])


def _joined(turns: Sequence[Sequence[Message]]) -> list[Message]:
    return [message for turn in turns for message in turn]


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
