"""The window holds the newest whole turns, whatever the conversation."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from serve.engines import open_engine
from serve.engines.base import Engine, Message
from serve.turn.window import WindowError, fit_window


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Engine:
    return open_engine("transformers", str(tiny_model), tiny_model)  # a window of 512 tokens


texts = st.text(alphabet="abc é世😀\u05d0", max_size=60)
turns = st.lists(st.tuples(texts, texts), max_size=12)


def chat(past: list[tuple[str, str]], last: str, system: str = "") -> list[Message]:
    messages = [{"role": "system", "content": system}] if system else []
    for asked, answered in past:
        messages += [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": answered},
        ]
    return [*messages, {"role": "user", "content": last}]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(past=turns, last=texts, system=texts, room=st.integers(1, 400))
def test_what_is_kept_fits_and_is_the_newest(
    engine: Engine, past: list[tuple[str, str]], last: str, system: str, room: int
) -> None:
    messages = chat(past, last, system)
    budget = engine.context_window - min(room, engine.context_window // 2)
    try:
        window = fit_window(engine, messages, room)
    except WindowError as error:
        alone = chat([], last, system)
        assert len(engine.encode_chat(alone)) > budget and str(budget) in str(error)
        return
    assert window.prompt_ids == engine.encode_chat(window.messages)
    assert len(window.prompt_ids) <= budget
    head = 1 if system else 0
    assert window.messages[:head] == messages[:head]
    assert window.messages[head:] == messages[head + 2 * window.dropped :]
    if window.dropped:  # one turn more would not have fitted
        more = messages[:head] + messages[head + 2 * (window.dropped - 1) :]
        assert len(engine.encode_chat(more)) > budget


@settings(max_examples=20, deadline=None)
@given(past=turns, last_turns=st.integers(1, 5))
def test_history_can_be_limited_to_the_last_turns(
    engine: Engine, past: list[tuple[str, str]], last_turns: int
) -> None:
    window = fit_window(engine, chat(past, "now"), 10, history_turns=last_turns)
    assert len(window.messages) <= 2 * last_turns + 1


def test_without_truncation_nothing_is_dropped(engine: Engine) -> None:
    with pytest.raises(WindowError, match=r"The conversation has \d+ tokens; .* takes 502"):
        fit_window(engine, chat([("a" * 400, "b" * 400)], "now"), 10, truncate=False)


def test_one_message_longer_than_the_window_is_an_error(engine: Engine) -> None:
    with pytest.raises(WindowError, match=r"The message has \d+ tokens; .*\(window 512\)"):
        fit_window(engine, chat([("hi", "hello")], "x" * 600), 10)
