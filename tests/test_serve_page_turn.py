"""The page around one turn, without a browser: reasoning on demand, and how it was understood."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import gradio as gr
import httpx
import pytest

from serve.page.api_types import Completion, Conversation, Started, Turn, parse_conversation
from serve.page.client import Client
from serve.page.handlers.conversations import Conversations
from serve.page.handlers.reasoning import Reasoning
from serve.page.handlers.verdicts import Verdicts
from serve.page.session import Live, Session
from serve.page.thread import exchanges, history
from serve.page.views import chat_view

HERE = {"conversation": "conv_1", "completion": "cmpl_1"}
SCRIPT = "<script>alert(1)</script>"


class Chunks(httpx.AsyncByteStream):
    """A stream of server-sent events that notes whether its reader closed it."""

    def __init__(self, *chunks: Any, breaks: bool = False) -> None:
        self.chunks, self.breaks, self.sent, self.closed = chunks, breaks, 0, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            self.sent += 1
            yield f"data: {json.dumps(chunk)}\n\n".encode()
        if self.breaks:
            raise httpx.ReadError("gone")
        yield b"data: [DONE]\n\n"

    async def aclose(self) -> None:
        self.closed = True


class Api:
    """An API of one conversation; `turn` and `completion` are what the record holds of it."""

    def __init__(self) -> None:
        self.turn: dict[str, Any] = {}
        self.completion: dict[str, Any] = {"text": "42 \n", "stopped_by": "####"}
        self.stream = Chunks(*written(" six", " times seven"))
        self.refusal: httpx.Response | None = None
        self.asked: list[tuple[str, str, Any]] = []
        self.down = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("refused", request=request)
        path = request.url.path
        if request.method != "GET":
            body = json.loads(request.content) if request.content else None
            self.asked.append((request.method, path, body))
        if path.endswith("/reasoning"):
            return self.refusal or httpx.Response(200, stream=self.stream)
        if path == "/v1/conversations":
            return httpx.Response(200, json={"data": [], "has_more": False})
        if request.method == "POST":
            return self.refusal or httpx.Response(201, json={"id": "fb_9"})
        return httpx.Response(204 if request.method == "DELETE" else 200, json=self.record())

    def record(self) -> dict[str, Any]:
        completion = {"id": "cmpl_1", "draft": 0, "text": "", "adapter": "base", **self.completion}
        turn = {"id": "turn_1", "query": "and how?", "completions": [completion], **self.turn}
        return {"id": "conv_1", "title": "t", "turns": [turn]}


def written(*texts: str) -> Iterator[dict[str, Any]]:
    """The chunks of a reasoning."""
    for text in texts:
        yield {"choices": [{"index": 0, "delta": {"reasoning_content": text}}]}
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def client(api: Api) -> Client:
    return Client("http://api.test", transport=httpx.MockTransport(api))


def event(**data: Any) -> gr.EventData:
    return gr.EventData(None, data)


def reason(client: Client, session: Session, **given: Any) -> list[str]:
    """The turn's HTML after each update of one press on Show reasoning."""

    async def press() -> list[Any]:
        views = Reasoning(client, ()).reason(session, event(**HERE, **given))
        return [view async for view in views]

    return ["".join(view["turns"]) for view in asyncio.run(press())]


def shown(session: Session) -> str:
    return "".join(chat_view(session, ())["turns"])


def opened(api: Api) -> Session:
    return Session(conversation=parse_conversation(api.record()))


# Show reasoning


@pytest.mark.parametrize(
    ("given", "offered"),
    [
        ({"stopped_by": "####"}, True),
        ({"stopped_by": "####", "reasoning": "why"}, True),
        ({"stopped_by": None, "reasoning": "why"}, True),
        ({"stopped_by": None, "reasoning": ""}, True),
        ({"stopped_by": "\n\n", "reasoning": None}, False),
        ({"stopped_by": None, "reasoning": None}, False),
    ],
)
def test_reasoning_is_offered_where_there_is_some(
    api: Api, given: dict[str, Any], offered: bool
) -> None:
    api.completion.update(given)
    html = shown(opened(api))
    assert ('data-act="reason"' in html) == offered
    assert ("Show reasoning" in html) == offered
    assert "why" not in html  # folded until it is asked for


def test_it_streams_once_and_is_in_the_record_from_then_on(api: Api, client: Client) -> None:
    session = opened(api)
    first, *_, last = reason(client, session)
    assert 'aria-expanded="true"' in first and 'aria-busy="true"' in first
    assert "six times seven" in last and 'aria-busy="false"' in last
    assert "Hide reasoning" in last and "writing" not in last
    assert api.asked == [("POST", "/v1/chat/completions/cmpl_1/reasoning", None)]
    api.completion["reasoning"] = " six times seven"
    api.asked.clear()
    asyncio.run(Reasoning(client, ()).fold(session, event(**HERE)))
    assert 'aria-expanded="false"' in shown(session) and "six times" not in shown(session)
    session.conversation = parse_conversation(api.record())
    assert "six times seven" in reason(client, session)[-1]
    assert api.asked == []


def test_a_recorded_reasoning_is_shown_without_the_engine(api: Api, client: Client) -> None:
    api.completion["reasoning"] = f" because **seven** {SCRIPT}"
    [html] = reason(client, Session())
    assert "<strong>seven</strong>" in html and "<script" not in html
    assert api.asked == []


def test_an_empty_reasoning_is_said_to_be_empty(api: Api, client: Client) -> None:
    api.completion["reasoning"] = " "
    assert "No reasoning was written." in reason(client, Session())[-1]


def test_folding_while_it_is_written_lets_it_be_written(api: Api, client: Client) -> None:
    session, handlers = opened(api), Reasoning(client, ())

    async def press() -> None:
        views = handlers.reason(session, event(**HERE))
        await anext(views)
        await handlers.fold(session, event(**HERE))
        assert "Show reasoning" in shown(session)
        api.completion["reasoning"] = " six times seven"  # recorded at the stream's end
        async for view in views:
            assert "six times" not in view["turns"][0]
        [again] = [view async for view in handlers.reason(session, event(**HERE))]
        assert "six times seven" in again["turns"][0]

    asyncio.run(press())


def test_a_second_press_does_not_ask_twice(api: Api, client: Client) -> None:
    session, handlers = opened(api), Reasoning(client, ())

    async def press() -> None:
        views = handlers.reason(session, event(**HERE))
        await anext(views)
        [again] = [view async for view in handlers.reason(session, event(**HERE))]
        assert 'aria-busy="true"' in again["turns"][0]
        assert [view async for view in views]

    asyncio.run(press())
    assert len(api.asked) == 1


@pytest.mark.parametrize(
    ("chunks", "breaks", "words"),
    [
        ([{"error": {"message": "The engine broke."}}], False, "The engine broke."),
        ([], True, "broke off"),
        ([], False, "broke off"),
    ],
)
def test_a_reasoning_that_breaks_off_says_so_and_can_be_had_again(
    api: Api, client: Client, chunks: list[Any], breaks: bool, words: str
) -> None:
    said = next(written(" half of it"))
    api.stream = Chunks(said, *chunks, breaks=breaks)
    session = opened(api)
    html = reason(client, session)[-1]
    assert words in html and "half of it" in html and "Try again" in html
    assert 'aria-busy="false"' in html
    api.stream = Chunks(*written("whole"))
    html = reason(client, session)[-1]
    assert "whole" in html and "half of it" not in html and "Try again" not in html


def test_a_refusal_or_a_dead_server_is_told_in_words(api: Api, client: Client) -> None:
    api.refusal = httpx.Response(409, json={"error": {"message": "It did not stop at ####."}})
    session = opened(api)
    assert "It did not stop at ####." in reason(client, session)[-1]
    api.down = True
    assert "does not answer" in reason(client, session)[-1]


def test_a_closed_tab_or_another_conversation_ends_the_stream(api: Api, client: Client) -> None:
    async def close(session: Session, leave: bool) -> None:
        api.stream = Chunks(*written(*"abcdefgh"))
        views = Reasoning(client, ()).reason(session, event(**HERE))
        await anext(views)
        await anext(views)
        if leave:
            session.show(None)
            assert [view async for view in views] == []
        else:
            await views.aclose()  # type: ignore[attr-defined]
        assert api.stream.closed and api.stream.sent < 9
        assert leave or "broke off" in shown(session)

    for leave in (True, False):
        asyncio.run(close(opened(api), leave))


def test_an_answer_of_another_conversation_is_not_reasoned_about(api: Api, client: Client) -> None:
    session = opened(api)
    strange = event(conversation="conv_1", completion="cmpl_x")

    async def press() -> Any:
        return [view async for view in Reasoning(client, ()).reason(session, strange)][-1]

    assert "not in the open conversation" in asyncio.run(press())["notice"]
    assert api.asked == []
    asyncio.run(Reasoning(client, ()).fold(session, strange))
    assert session.thoughts == {}


def test_white_space_behind_a_conclusion_is_nobodys_answer(api: Api) -> None:
    session = opened(api)
    assert 'data-text="42"' in shown(session)
    assert history(exchanges(session.conversation), {})[1]["content"] == "42"


def test_drafts_that_wait_for_a_verdict_show_no_reasoning() -> None:
    drafts = tuple(Completion(f"cmpl_{i}", "42 ", i, stopped_by="####") for i in range(2))
    session = Session(conversation=Conversation("c", "", (Turn("t", "q", completions=drafts),)))
    assert 'data-act="judge"' in shown(session) and "reasoning" not in shown(session)


# Understood as


@pytest.mark.parametrize(
    ("query", "rewritten", "line"),
    [
        ("and how?", "How is it made?", True),
        ("and how?", "And HOW? \n", False),
        (" and how?", "and how?", False),
        ("它呢?", "它的保修期呢?", True),
        ("and how?", None, False),
        ("and how?", "", False),
    ],
)
def test_a_question_that_was_understood_otherwise_says_how(
    api: Api, query: str, rewritten: str | None, line: bool
) -> None:
    api.turn = {"query": query, "rewritten_query": rewritten}
    html = shown(opened(api))
    assert ("Understood as:" in html) == line
    assert ('data-act="reword"' in html) == line


def test_it_is_said_while_the_answer_is_written() -> None:
    live = Live("and how?", 1, 0)
    live.started = Started("conv_1", "turn_1", rewritten_query=f"How? {SCRIPT}")
    html = shown(Session(live=live))
    assert "Understood as: <bdi>How? &lt;script&gt;" in html
    assert "reword" not in html  # nothing is recorded yet that could be edited
    live.started = Started("conv_1", "turn_1", rewritten_query="And how?")
    assert "Understood as:" not in shown(Session(live=live))


def test_two_drafts_say_it_too(api: Api) -> None:
    drafts = [{"id": f"cmpl_{i}", "draft": i, "text": "x"} for i in range(2)]
    api.turn = {"rewritten_query": "How is it made?", "completions": drafts}
    html = shown(opened(api))
    assert 'data-act="judge"' in html and 'data-act="reword"' in html


def test_an_edit_is_written_shown_and_taken_back(api: Api, client: Client) -> None:
    api.turn = {"rewritten_query": "How is it made?"}
    session, verdicts = opened(api), Verdicts(client, ())
    given = {"conversation": "conv_1", "turn": "turn_1", "gesture": "g"}
    api.turn["rewrite"] = {"id": "fb_9", "value": -1, "text": f"How long is it? {SCRIPT}"}
    view = asyncio.run(verdicts.understand(session, event(**given, text=" How long is it? ")))
    feedback = {"kind": "rewrite", "turn_id": "turn_1", "value": -1, "text": "How long is it?"}
    assert api.asked == [("POST", "/v1/feedback", feedback)]
    assert view["done"] == {"g": ""}
    [html] = view["turns"]
    assert "How long is it? &lt;script&gt;" in html and "How is it made?" not in html
    assert "Saved, teaches the next rewriter." in html and "<script" not in html
    api.turn["rewrite"] = None
    [html] = asyncio.run(verdicts.misunderstand(session, event(**given)))["turns"]
    assert api.asked[1][:2] == ("DELETE", "/v1/feedback/fb_9")
    assert "How is it made?" in html and "Saved" not in html


def test_a_thumb_up_without_a_text_leaves_the_line_as_it_was(api: Api) -> None:
    api.turn = {
        "rewritten_query": "How is it made?",
        "rewrite": {"id": "fb_9", "value": 1, "text": None},
    }
    html = shown(opened(api))
    assert "How is it made?" in html and "Saved" not in html


@pytest.mark.parametrize(
    "given", [{"turn": "turn_x", "text": "a"}, {"turn": "turn_1", "text": " "}]
)
def test_a_strange_or_empty_edit_writes_nothing(
    api: Api, client: Client, given: dict[str, str]
) -> None:
    made = event(conversation="conv_1", gesture="g", **given)
    view = asyncio.run(Verdicts(client, ()).understand(Session(), made))
    assert view["done"]["g"]
    assert api.asked == []


def test_an_edit_that_fails_is_told_to_its_field_only(api: Api, client: Client) -> None:
    session, verdicts = opened(api), Verdicts(client, ())
    api.refusal = httpx.Response(400, json={"error": {"message": "text is too long."}})
    given = event(conversation="conv_1", turn="turn_1", text="a", gesture="g")
    view = asyncio.run(verdicts.understand(session, given))
    assert view["done"]["g"] == "text is too long."
    assert "too long" not in view["turns"][0]


def test_the_line_is_that_of_the_answer_shown() -> None:
    turns = tuple(
        Turn(f"t{i}", "and how?", f"How {i}?", (Completion(f"cmpl_{i}", str(i)),)) for i in range(2)
    )
    session = Session(conversation=Conversation("c", "", turns))
    assert "How 1?" in shown(session) and "How 0?" not in shown(session)
    session.chosen["t0"] = "cmpl_0"
    assert "How 0?" in shown(session) and "How 1?" not in shown(session)


# The list after an outage


def test_a_list_that_comes_back_brings_the_conversation_that_was_asked_for(
    api: Api, client: Client
) -> None:
    session, handlers, made = Session(), Conversations(client, ()), event(conversation="conv_1")
    api.down = True
    chat, found = asyncio.run(handlers.hello(session, made))
    assert found["problem"] and chat["notice"]
    chat, found = asyncio.run(handlers.retry(session, made))
    assert found["problem"] and "turns" not in chat  # the thread stays as it is
    api.down = False
    chat, found = asyncio.run(handlers.retry(session, made))
    assert not found["problem"] and not chat["notice"] and len(chat["turns"]) == 1
    chat, _ = asyncio.run(handlers.retry(session, made))
    assert "turns" not in chat
