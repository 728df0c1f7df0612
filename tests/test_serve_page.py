"""The page without a browser: its client, what it shows, and what it does with ids."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import gradio as gr
import httpx
import pytest
from conftest import ROOT, free_port, wait_until
from markdown_it import MarkdownIt

from serve.page import render
from serve.page.api_types import (
    Completion,
    Conversation,
    Delta,
    Reason,
    Started,
    Summary,
    Turn,
    parse_summary,
    parse_time,
)
from serve.page.client import ApiError, Client, parse_line
from serve.page.handlers.answers import Answers
from serve.page.handlers.conversations import Conversations
from serve.page.handlers.verdicts import Verdicts
from serve.page.languages import Words
from serve.page.markdown import _parser, to_html
from serve.page.session import Live, Session
from serve.page.thread import draft_order, exchanges, goes_on_from, history, in_order
from serve.page.views import View, chat_view

Reply = Callable[[httpx.Request], httpx.Response]
SCRIPT = "<script>alert(1)</script>"


def client(reply: Reply) -> Client:
    return Client("http://api.test/", transport=httpx.MockTransport(reply))


def event(**data: Any) -> gr.EventData:
    return gr.EventData(None, data)


def completion(number: int, text: str = "text", **given: Any) -> Completion:
    return Completion(f"cmpl_{number}", text, draft=number, adapter="a-0001-3f9c1e", **given)


def turn(name: str, query: str, *drafts: Completion, **given: Any) -> Turn:
    return Turn(name, query, completions=drafts, **given)


def conversation_json(**completion: Any) -> dict[str, Any]:
    draft = {"id": "cmpl_1", "draft": 0, "text": "hello", "adapter": None, **completion}
    turns = [{"id": "turn_1", "position": 0, "query": "hi", "completions": [draft]}]
    return {"id": "conv_1", "title": "hi", "turns": turns}


class Record:
    """An API of one conversation that notes what it was asked."""

    def __init__(self, **completion: Any) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.keys: list[str | None] = []
        self.raw: list[bytes] = []
        self.completion = completion
        self.fails = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.fails:
            raise httpx.ConnectError("refused", request=request)
        body = json.loads(request.content) if request.content else None
        if request.method != "GET":
            self.asked.append((request.method, request.url.path, body))
            self.raw.append(request.url.raw_path)
            self.keys.append(request.headers.get("idempotency-key"))
        if request.url.path == "/v1/conversations":
            return httpx.Response(200, json={"data": [], "has_more": False})
        if request.method == "POST":
            return httpx.Response(201, json={"id": "fb_9"})
        if request.method == "DELETE":
            return httpx.Response(204)
        return httpx.Response(200, json=conversation_json(**self.completion))


# The client


def test_a_stream_is_read_as_ids_and_text() -> None:
    chunk = {
        "choices": [{"index": 1, "delta": {"content": "Hi"}}, {"index": 0, "delta": {}}],
        "redraft": {"conversation_id": "conv_1", "turn_id": "turn_1", "completion_ids": ["cmpl_1"]},
    }
    lines = [": a comment", "event: ping", f"data: {json.dumps(chunk)}", "data: [DONE]"]
    asked: list[Any] = []

    def reply(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content))
        return httpx.Response(200, text="\n\n".join(lines))

    async def read() -> list[Any]:
        return [event async for event in client(reply).stream([], 1, "conv_1")]

    assert asyncio.run(read()) == [
        Started("conv_1", "turn_1", ("cmpl_1",), "base"),
        Delta(1, "Hi"),
    ]
    # Whether answers stop at the conclusion is the server's setting: the page does not say.
    assert asked[0]["redraft"] == {"conversation_id": "conv_1"}


def test_an_error_in_a_stream_is_raised_in_words() -> None:
    with pytest.raises(ApiError, match="The engine broke"):
        parse_line('data: {"error": {"message": "The engine broke."}}')


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (httpx.Response(404, json={"error": {"message": "No conversation x."}}), "No conversation"),
        (httpx.Response(502, text="<html>bad gateway</html>"), "status 502"),
        (httpx.Response(200, text="<html>another server</html>"), "is not Redraft's API"),
    ],
)
def test_errors_of_the_api_become_words(response: httpx.Response, words: str) -> None:
    with pytest.raises(ApiError, match=words):
        asyncio.run(client(lambda _: response).conversation("x"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx.ConnectError("x"), "http://api.test does not answer"),
        (httpx.ReadTimeout("x"), "took too long"),
        (httpx.RemoteProtocolError("x"), "broke off"),
    ],
)
def test_a_connection_that_fails_becomes_words(error: Exception, words: str) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    async def stream() -> None:
        async for _ in client(fail).stream([], 1, ""):
            pass

    for call in (client(fail).conversations(), stream()):
        with pytest.raises(ApiError, match=words):
            asyncio.run(call)  # type: ignore[arg-type]


def test_a_long_list_is_read_page_by_page() -> None:
    asked: list[dict[str, str]] = []

    def reply(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        data = [{"id": f"conv_{i}", "updated_at": 0} for i in range(int(asked[-1]["limit"]))]
        return httpx.Response(200, json={"data": data, "has_more": True, "last_id": "conv_z"})

    found, more = asyncio.run(client(reply).conversations("nile", 150))
    assert (len(found), more) == (150, True)
    assert asked == [
        {"q": "nile", "limit": "100"},
        {"q": "nile", "limit": "50", "after": "conv_z"},
    ]


def test_an_id_cannot_leave_its_place_in_the_address() -> None:
    record = Record()
    asyncio.run(client(record).delete("../adapters/a?x=1#y"))
    assert record.raw == [b"/v1/conversations/..%2Fadapters%2Fa%3Fx%3D1%23y"]


def test_feedback_that_is_gone_counts_as_withdrawn() -> None:
    asyncio.run(client(lambda _: httpx.Response(404)).withdraw("fb_1"))
    with pytest.raises(ApiError):
        asyncio.run(client(lambda _: httpx.Response(500)).withdraw("fb_1"))


@pytest.mark.parametrize("stamp", [1767225600, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00"])
def test_times_are_read_as_utc(stamp: Any) -> None:
    assert parse_time(stamp) == datetime(2026, 1, 1, tzinfo=UTC)


# What it shows


@pytest.mark.parametrize(
    "text",
    [
        SCRIPT,
        "<img src=x onerror=alert(1)>",
        "[click](javascript:alert(1))",
        "![picture](http://elsewhere.test/x.png)",
        "```<b>\n<script>alert(1)</script>\n```",
        "```python\n'</span><script>alert(1)</script>'\n```",
        "    <script>indented</script>",
        '[x](http://a.test/"onmouseover="alert(1))',
        "<a href='javascript:alert(1)'>x</a>",
        "| <script>a</script> |\n|---|\n| <i>b</i> |",
    ],
)
def test_markdown_holds_no_script_and_loads_nothing(text: str) -> None:
    html = to_html(text)
    for bad in ("<script", "<img", 'href="javascript', "<i>", "<b>", '"onmouseover="'):
        assert bad not in html.lower()


def test_markdown_is_rendered() -> None:
    html = to_html("**bold**\nnext\n\n- one\n\n```python\nreturn 1\n```\n\n[a](http://b.test)")
    for part in ("<strong>bold</strong><br", "<li>one</li>", '<span class="k">return</span>'):
        assert part in html
    assert 'rel="noopener noreferrer nofollow"' in html


def test_only_so_much_code_of_a_text_is_coloured() -> None:
    block = "```python\n" + "return 1\n" * 400 + "```\n"
    shown = to_html(block * 5).split('<div class="code">')[1:]
    assert ['<span class="k">' in code for code in shown] == [True, True, False, False, False]
    assert shown[4].count("return 1") == 400


def test_every_text_of_an_exchange_is_escaped() -> None:
    draft = completion(0, SCRIPT, correction_id="fb_1", correction=SCRIPT)
    [exchange] = exchanges(Conversation("c", SCRIPT, (turn("t", SCRIPT, draft),)))
    live = Live(SCRIPT, 2, 0)
    live.texts, live.error = [SCRIPT, SCRIPT], SCRIPT
    summary = parse_summary_of(SCRIPT)
    now = datetime.now(UTC)
    pieces = [
        render.exchange_html(exchange, "", SCRIPT, True),
        render.live_html(live),
        render.empty_html([SCRIPT]),
        render.list_html([summary], "", more=False, search="", now=now, offset=0),
    ]
    for html in pieces:
        assert "<script" not in html
        assert "&lt;script&gt;" in html


def parse_summary_of(title: str) -> Summary:
    return parse_summary({"id": "conv_1", "title": title, "updated_at": 0})


@pytest.mark.parametrize(
    ("moment", "offset", "day"),
    [
        ("2026-03-02T00:10", 0, "today"),
        ("2026-03-01T23:50", 0, "yesterday"),
        ("2026-03-01T23:50", 60, "today"),
        ("2026-03-02T00:10", -60, "yesterday"),
        ("2026-02-28T12:00", 0, "earlier"),
        ("2026-03-02T23:00", 0, "today"),
    ],
)
def test_days_are_those_of_the_readers_clock(moment: str, offset: int, day: str) -> None:
    now = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
    assert render.day_name(parse_time(moment), now, offset) == day


def test_asking_the_same_again_adds_an_answer_not_a_bubble() -> None:
    turns = (
        turn("t1", "q", completion(1, "first")),
        turn("t2", "q", completion(2, "second")),
        turn("t3", "other", completion(3, "third")),
    )
    found = exchanges(Conversation("c", "", turns))
    assert [e.query for e in found] == ["q", "other"]
    assert history(found, {}) == [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "second"},
        {"role": "user", "content": "other"},
        {"role": "assistant", "content": "third"},
    ]
    assert history(found[:1], {"t1": "cmpl_1"})[1]["content"] == "first"


def tree() -> Conversation:
    """q → two wordings of the next question, the first answered twice and gone on from."""
    return Conversation("c", "", (
        turn("t1", "q", completion(1), parent_id=""),
        turn("t2", "next", completion(2, "first"), parent_id="t1"),
        turn("t3", "next", completion(3, "second"), parent_id="t1"),
        turn("t4", "deeper", completion(4), parent_id="t2"),
        turn("t5", "otherwise", completion(5), parent_id="t1"),
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("chosen", "versions", "shown"),
    [
        ({}, {}, ["q", "otherwise"]),
        ({}, {"t1": "t2"}, ["q", "next", "deeper"]),
        ({"t2": "cmpl_3"}, {"t1": "t2"}, ["q", "next"]),
        ({"t2": "cmpl_2"}, {"t1": "t2"}, ["q", "next", "deeper"]),
        ({"t2": "cmpl_x"}, {"t1": "t9", "": "t9"}, ["q", "otherwise"]),
    ],
)
def test_a_conversation_is_one_path_through_its_branches(
    chosen: dict[str, str], versions: dict[str, str], shown: list[str]
) -> None:
    path = exchanges(tree(), chosen, versions)
    assert [e.query for e in path] == shown
    assert path[1].versions == ("t2", "t5")
    said = [m["content"] for m in history(path, chosen) if m["role"] == "user"]
    assert said == shown


def test_a_question_goes_on_from_the_answer_that_is_shown() -> None:
    path = exchanges(tree(), {"t2": "cmpl_3"}, {"t1": "t2"})
    assert goes_on_from(path, {"t2": "cmpl_3"}) == "t3"
    assert goes_on_from(path[:1], {}) == "t1"
    assert goes_on_from([], {}) == ""


def test_turns_of_clients_that_name_no_parent_follow_each_other() -> None:
    turns = (
        turn("t1", "q", completion(1)),
        turn("t2", "q", completion(2)),
        turn("t3", "more", completion(3)),
        turn("t4", "branch", completion(4), parent_id="t1"),
        turn("t5", "on", completion(5)),
        turn("t6", "strange", completion(6), parent_id="t_unknown"),
    )
    conversation = Conversation("c", "", turns)
    assert [e.query for e in exchanges(Conversation("c", "", turns[:3]))] == ["q", "more"]
    assert [e.query for e in exchanges(Conversation("c", "", turns[:5]))] == ["q", "branch", "on"]
    assert [e.query for e in exchanges(conversation)] == ["strange"]


@pytest.mark.parametrize(("chosen", "stands"), [("tie", 2), ("both_bad", 2), ("cmpl_1", 1)])
def test_the_picked_draft_stands_else_the_first_shown(chosen: str, stands: int) -> None:
    judged = turn("t", "q", completion(1), completion(2), shown=("cmpl_2", "cmpl_1"), chosen=chosen)
    [exchange] = exchanges(Conversation("c", "", (judged,)))
    assert exchange.undecided is None
    assert exchange.answer() == judged.completions[stands - 1]


def test_the_order_of_drafts_is_fair_and_stable() -> None:
    orders = [tuple(draft_order(f"turn_{i}", 2)) for i in range(400)]
    assert 150 < orders.count((0, 1)) < 250
    waiting = turn("turn_7", "q", completion(0), completion(1))
    assert [c.draft for c in in_order(waiting)] == draft_order("turn_7", 2)


def test_a_correction_goes_on_as_the_answer() -> None:
    corrected = completion(0, "wrong", correction_id="fb_1", correction="right")
    found = exchanges(Conversation("c", "", (turn("t", "q", corrected),)))
    assert history(found, {})[1]["content"] == "right"


def test_a_waiting_turn_says_nothing_of_who_wrote_it() -> None:
    waiting = turn("t", "q", completion(0, "one"), completion(1, "two"))
    session = Session(conversation=Conversation("c", "", (waiting,)))
    [html] = chat_view(session, ())["turns"]
    assert "a-0001" not in html
    assert html.count('data-act="judge"') == 4


def test_revisions_only_grow() -> None:
    session = Session()
    numbers = [session.next_revision() for _ in range(1000)]
    assert numbers == sorted(set(numbers))


# What it does


def test_a_thumb_is_written_once_and_taken_back() -> None:
    record = Record()
    handlers = Verdicts(client(record), ())
    session = Session()
    given = {"conversation": "conv_1", "completion": "cmpl_1", "gesture": "g1"}

    async def gestures() -> None:
        await handlers.rate(session, event(**given, value=1))
        record.completion = {"rating": {"id": "fb_9", "value": 1}}
        await handlers.rate(session, event(**given, value=1))
        await handlers.rate(session, event(**given, value=0))
        record.completion = {}
        await handlers.rate(session, event(**given, value=0))

    asyncio.run(gestures())
    rating = {"kind": "rating", "completion_id": "cmpl_1", "value": 1}
    assert record.asked[0] == ("POST", "/v1/feedback", rating)
    assert record.keys[0] == record.keys[1] == "g1"
    assert record.asked[2][:2] == ("DELETE", "/v1/feedback/fb_9")


def test_a_thumb_on_the_reasoning_is_one_of_its_own() -> None:
    record = Record()
    record.completion = {"reasoning": "so", "reasoning_rating": {"id": "fb_3", "value": -1}}
    given = {"conversation": "conv_1", "completion": "cmpl_1", "part": "reasoning"}
    handlers = Verdicts(client(record), ())

    async def gestures() -> None:
        await handlers.rate(Session(), event(**given, gesture="g1", value=1))
        await handlers.rate(Session(), event(**given, gesture="g2", value=0))

    asyncio.run(gestures())
    rating = {"kind": "rating", "completion_id": "cmpl_1", "value": 1, "part": "reasoning"}
    assert ("POST", "/v1/feedback", rating) in record.asked
    assert any(asked[:2] == ("DELETE", "/v1/feedback/fb_3") for asked in record.asked)


def test_a_click_that_was_overtaken_on_its_way_changes_nothing() -> None:
    record, session = Record(), Session()
    handlers = Verdicts(client(record), ())
    given = {"conversation": "conv_1", "completion": "cmpl_1"}

    async def gestures() -> View:
        await handlers.rate(session, event(**given, click=2, value=-1, gesture="g2"))
        await handlers.rate(session, event(**given, click=1, value=1, gesture="g1"))
        await handlers.rate(session, event(**given, click=1, value=1, part="reasoning"))
        return await handlers.rate(session, event(**given, click=3, value=1, gesture="g3"))

    view = asyncio.run(gestures())
    told = [(body["value"], body.get("part", "")) for _, _, body in record.asked]
    assert told == [(-1, ""), (1, "reasoning"), (1, "")]
    assert view["done"] == {"g2": "", "g1": "", "g3": ""}


@pytest.mark.parametrize("value", [7, "1", None, True, 0.5])
def test_a_strange_thumb_writes_no_rating(value: Any) -> None:
    record = Record()
    given = {"conversation": "conv_1", "completion": "cmpl_1", "value": value}
    asyncio.run(Verdicts(client(record), ()).rate(Session(), event(**given)))
    assert record.asked == []


@pytest.mark.parametrize(
    ("given", "body"),
    [
        ({"tags": ["too_long"], "comment": " why "}, {"tags": ["too_long"], "comment": "why"}),
        ({"tags": ["too_long", 7, None]}, {"tags": ["too_long"]}),
        ({"tags": "too_long", "comment": 5}, {}),
    ],
)
def test_a_thumb_says_why(given: dict[str, Any], body: dict[str, Any]) -> None:
    record, session = Record(), Session()
    given = {"conversation": "conv_1", "completion": "cmpl_1", "value": -1, **given}
    asyncio.run(Verdicts(client(record), ()).rate(session, event(**given)))
    rating = {"kind": "rating", "completion_id": "cmpl_1", "value": -1, **body}
    assert record.asked == [("POST", "/v1/feedback", rating)]


def test_tags_of_other_clients_are_shown_as_they_are() -> None:
    rated = completion(0, rating_id="fb_1", rating=-1, tags=("unsafe", SCRIPT), comment=SCRIPT)
    [exchange] = exchanges(Conversation("c", "", (turn("t", "q", rated),)))
    reasons = (Reason("unsafe", -1, (("en", "Unsafe"), ("zh", SCRIPT))), Reason("good", 1))
    html = render.exchange_html(exchange, "", "", True, why=render.Why(False, reasons))
    assert html.count("&lt;script&gt;") == 2 and "Unsafe" in html and "<script" not in html
    why = render.Why(True, reasons)
    asked = render.exchange_html(exchange, "", "", True, why=why, words=Words("zh"))
    assert asked.count('class="chip"') == 1 and "<script" not in asked


def test_what_a_thumb_is_explained_with_comes_from_the_api() -> None:
    entry = {"key": "clear", "value": 1, "labels": {"en": "Clear", "zh": "清楚"}}
    found = asyncio.run(client(lambda _: httpx.Response(200, json={"data": [entry]})).reasons())
    assert [(r.key, r.value, r.label("zh"), r.label("fr")) for r in found] == [
        ("clear", 1, "清楚", "Clear")
    ]
    down, session = client(lambda _: httpx.Response(500)), Session()
    asyncio.run(Verdicts(down, ()).know_reasons(session))
    assert session.reasons == ()


def test_what_a_person_does_is_noted_and_never_in_the_way() -> None:
    record, session = Record(), Session()
    handlers, given = Verdicts(client(record), ()), {"completion": "cmpl_1", "gesture": "g"}
    asyncio.run(handlers.copied(session, event(**given)))
    did = {"kind": "copied", "completion_id": "cmpl_1"}
    assert record.asked == [("POST", "/v1/feedback", did)]
    record.fails = True
    asyncio.run(handlers.copied(session, event(**given)))


def test_ids_of_another_conversation_are_refused() -> None:
    record = Record()
    handlers = Verdicts(client(record), ())
    for call, given in (
        (handlers.rate, {"completion": "cmpl_x", "value": 1}),
        (handlers.correct, {"completion": "cmpl_x", "text": "mine"}),
        (handlers.judge, {"turn": "turn_x", "chosen": "tie"}),
        (handlers.judge, {"turn": "turn_1", "chosen": "cmpl_x"}),
    ):
        given |= {"conversation": "conv_1", "gesture": "g"}
        view = asyncio.run(call(Session(), event(**given)))
        assert "not in the open conversation" in view["done"]["g"]
    assert record.asked == []


def test_a_verdict_that_cannot_be_saved_says_so() -> None:
    record = Record()
    handlers, session = Verdicts(client(record), ()), Session()
    given = {"conversation": "conv_1", "completion": "cmpl_1", "gesture": "g"}
    asyncio.run(handlers.rate(session, event(**given, value=0)))
    record.fails = True
    view = asyncio.run(handlers.rate(session, event(**given, value=1)))
    assert "does not answer" in view["done"]["g"]
    assert "Not saved." in view["turns"][0]
    assert 'aria-pressed="true"' not in view["turns"][0]


def test_a_message_that_was_not_taken_is_still_in_its_field() -> None:
    record = Record()
    record.fails = True
    session = Session()
    given = {"conversation": "conv_1", "text": "hello", "drafts": 1, "gesture": "g"}

    async def views() -> list[Any]:
        return [view async for view, _ in Answers(client(record), ()).send(session, event(**given))]

    assert "does not answer" in asyncio.run(views())[-1]["done"]["g"]
    assert session.live is None


@pytest.mark.parametrize(("share", "drafts"), [(0, 1), (1, 2)])
def test_two_drafts_are_offered_on_a_share_of_the_questions(share: float, drafts: int) -> None:
    record, session = Record(), Session()
    handlers = Answers(client(record), (), share)
    given = {"conversation": "conv_1", "text": "hello", "drafts": 1, "gesture": "g"}

    async def ask() -> None:
        async for _ in handlers.send(session, event(**given)):
            pass

    asyncio.run(ask())
    [asked] = [body for method, path, body in record.asked if path.endswith("completions")]
    assert asked["n"] == drafts


def test_a_long_text_is_drawn_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn_by = set[str]()

    class Watched(MarkdownIt):
        def render(self, src: str, env: Any = None) -> Any:
            if len(src) > 1000:
                drawn_by.add(threading.current_thread().name)
            return super().render(src, env)

    monkeypatch.setattr("serve.page.markdown.MarkdownIt", Watched)
    _parser.cache_clear()
    long = "a *word* " * 2000
    session, record = Session(), Record(text=long, correction={"id": "fb_1", "text": long[:-20]})
    view, _ = asyncio.run(Conversations(client(record), ()).open(session, event(id="conv_1")))
    _parser.cache_clear()
    assert view["turns"][0].count("<em>word</em>") > 3000
    assert drawn_by and threading.main_thread().name not in drawn_by


def test_a_conversation_that_is_gone_opens_a_new_chat() -> None:
    gone = client(lambda _: httpx.Response(404, json={"error": {"message": "No."}}))
    chat, _ = asyncio.run(Conversations(gone, ("Q?",)).open(Session(), event(id="conv_x")))
    assert (chat["notice"], chat["turns"]) == ("This conversation is gone.", [])
    assert "Q?" in chat["empty"]


# The process


def test_endpoints_are_private_and_run_side_by_side() -> None:
    # In a process of its own: Gradio leaves the event loop that it makes open.
    program = (
        "from serve.page.app import build_page\n"
        "from serve.page.client import Client\n"
        "for made in build_page(Client('http://127.0.0.1:1')).fns.values():\n"
        "    print(made.api_visibility, made.concurrency_limit)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"private", "None"}


@pytest.mark.slow
def test_the_process_answers_and_ends_on_sigterm() -> None:
    port = free_port()
    command = [sys.executable, "-m", "serve.page", "--api", "http://127.0.0.1:1"]
    process = subprocess.Popen([*command, "--port", str(port)], cwd=ROOT, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}"), 60)
        again = subprocess.run([*command, "--port", str(port)], cwd=ROOT, capture_output=True)
        assert again.returncode == 1
        assert f"port {port} cannot be used" in again.stderr.decode()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=15)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert errors == b""


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False
