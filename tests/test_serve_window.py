"""The window holds the newest whole turns, whatever the conversation."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from serve.engines import open_engine
from serve.engines.base import Engine, Message
from serve.turn.window import BUDGET, LIMIT, WindowError, fit_window, leave_room, with_note


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


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(past=turns, last=texts, system=texts, note=texts, tokens=st.integers(0, 300))
def test_room_and_a_note_never_exceed_the_budget(
    engine: Engine, past: list[tuple[str, str]], last: str, system: str, note: str, tokens: int
) -> None:
    messages = chat(past, last, system)
    window = fit_window(engine, messages, 100)
    roomy = leave_room(engine, window, tokens)
    if roomy is None:
        assert len(engine.encode_chat(chat([], last, system))) + tokens > window.budget
        return
    assert roomy.dropped >= window.dropped
    assert roomy.dropped + roomy.turns == window.dropped + window.turns
    assert roomy.prompt_ids == engine.encode_chat(roomy.messages)
    assert len(roomy.prompt_ids) + tokens <= window.budget == 412
    told = with_note(engine, roomy, note)
    if told is not None:
        assert told.prompt_ids == engine.encode_chat(told.messages)
        assert len(told.prompt_ids) <= window.budget
        assert [m["role"] for m in told.messages].count("system") == 1


def test_room_is_not_made_where_nothing_may_go(engine: Engine) -> None:
    window = fit_window(engine, chat([("a" * 150, "b" * 150)], "now"), 10)
    assert leave_room(engine, window, 200, truncate=False) is None
    roomy = leave_room(engine, window, 200)
    assert roomy is not None and (roomy.dropped, roomy.why) == (1, BUDGET)


def test_a_window_says_why_turns_are_left_out(engine: Engine) -> None:
    past = [("hi", "hello"), ("how", "so")]
    assert fit_window(engine, chat(past, "now"), 10).why is None
    assert fit_window(engine, chat(past, "now"), 10, history_turns=1).why == LIMIT
    assert fit_window(engine, chat([("a" * 500, "b"), *past], "now"), 10).why == BUDGET
    alone = fit_window(engine, chat(past, "now", "Be brief."), 10, no_history="a change of topic")
    assert alone.messages == chat([], "now", "Be brief.")
    assert (alone.dropped, alone.why) == (2, "a change of topic")


def test_a_note_stands_at_the_end_of_the_system_message(engine: Engine) -> None:
    plain = fit_window(engine, chat([], "now"), 10)
    told = with_note(engine, plain, "N")
    assert told is not None and told.messages == chat([], "now", "N")
    ruled = fit_window(engine, chat([], "now", "Be brief."), 10)
    told = with_note(engine, ruled, "N")
    assert told is not None and told.messages == chat([], "now", "Be brief.\n\nN")
    assert with_note(engine, ruled, "N" * 600) is None


def test_a_note_fits_up_to_the_last_token_and_no_further(engine: Engine) -> None:
    plain = fit_window(engine, chat([], "now", "Be brief."), 10)
    left = plain.budget - len(plain.prompt_ids) - len("\n\n")  # a byte is a token here
    assert left > 0
    full = with_note(engine, plain, "N" * left)
    assert full is not None and len(full.prompt_ids) == full.budget
    assert with_note(engine, plain, "N" * (left + 1)) is None
