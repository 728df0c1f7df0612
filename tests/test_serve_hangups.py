"""A client that hangs up while the engine says nothing frees its place at once."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from api_context import open_here
from conftest import Redraft, wait_until
from engine_server import Server, say
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select

from feedback.tables import Completion
from serve.api import create_app
from serve.api.context import Context
from serve.api.server import bind, server_on
from serve.api.streaming import COMFORT, COMMENT
from serve.engines.base import QUIET, Chunk, EngineError, Unavailable
from serve.engines.batching import Job
from serve.engines.hangup import LINE, Line
from serve.engines.remote import SILENCE, Remote
from serve.engines.sampler import Sampler
from serve.settings import load_settings

CHAT = {"model": "redraft", "messages": [{"role": "user", "content": "hi"}]}
ASKED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", {**CHAT, "stream": True}),
    ("/v1/completions", {"model": "redraft", "prompt": "hi"}),
    ("/v1/completions", {"model": "redraft", "prompt": "hi", "stream": True}),
    ("/v1/responses", {"model": "redraft", "input": "hi"}),
    ("/v1/responses", {"model": "redraft", "input": "hi", "stream": True}),
    ("/algorithm/ChatRest", {"prompt": "hi", "history": []}),
]


def hang_up(server: Redraft, engine: Server, path: str, body: dict[str, Any]) -> None:
    """Ask, and close the connection once the engine has been asked."""
    data, asked = json.dumps(body).encode(), len(engine.asked)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(
            b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (path.encode(), len(data), data)
        )
        wait_until(lambda: len(engine.asked) > asked, 30, lambda: client.recv(9999).decode())


def running_and_cancelled(server: Redraft) -> tuple[float, float]:
    told = server.http.get("/metrics").text
    samples = [one for family in text_string_to_metric_families(told) for one in family.samples]
    cancelled = [one for one in samples if one.labels.get("outcome") == "cancelled"]
    return (
        sum(one.value for one in samples if one.name == "redraft_generations_running"),
        sum(one.value for one in cancelled if one.name == "redraft_generations_total"),
    )


def is_free(server: Redraft, engine: Server, times: int) -> bool:
    """Whether so many clients have hung up, and nothing goes on for them anywhere."""
    return engine.left == times and running_and_cancelled(server) == (0, times)


@pytest.mark.slow
def test_the_engines_server_is_left_as_soon_as_the_client_is_gone(
    make_redraft: Callable[..., Redraft],
) -> None:
    silent, silent_after_a_word = [280.0], [say("one "), 280.0]
    told = [silent_after_a_word if "stream" in body else silent for _, body in ASKED]
    with Server(*told) as engine:
        given = {"engine": "openai", "engine_url": engine.url, "model": "m", "rewrite": "off"}
        server = make_redraft(threads=4, **given).start("--no-page", "--no-scheduler")
        for place, (path, body) in enumerate(ASKED, 1):
            hang_up(server, engine, path, body)
            free = partial(is_free, server, engine, place)
            wait_until(free, 15, partial(str, path))


@pytest.fixture
def line() -> Iterator[Line]:
    """The line of what this test asks."""
    line = Line()
    token = LINE.set(line)
    yield line
    LINE.reset(token)


def test_a_job_gives_its_rows_up_the_moment_its_line_is_cut(line: Line) -> None:
    job = Job(weights=None, prompt_ids=[1], sampler=cast(Sampler, None), drafts=1)
    chunks = job.chunks()
    job.out.put([Chunk(0, "one ")])
    assert next(chunks).text == "one "
    line.cut()
    assert job.cancelled and next(chunks) is QUIET
    with pytest.raises(EngineError, match="client closed"):
        next(chunks)


def test_a_line_that_was_cut_before_tells_so_at_once(line: Line) -> None:
    line.cut()
    job = Job(weights=None, prompt_ids=[1], sampler=cast(Sampler, None), drafts=1)
    assert next(job.chunks()) is QUIET and job.cancelled


def test_a_cut_line_tells_those_alone_who_still_listen(line: Line) -> None:
    told: list[str] = []
    with line.heard_by(partial(told.append, "gone")):
        pass
    with line.heard_by(partial(told.append, "here")):
        line.cut()
    assert told == ["here"]


@pytest.mark.parametrize("answer", [[280.0], [say("one "), 280.0]], ids=["head", "word"])
def test_an_engines_server_is_left_in_the_middle_of_its_silence(
    line: Line, answer: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.engines.event_source.BEAT", 250.0)  # nobody looks in between
    with Server(answer) as engine, closing(Remote("It", engine.url, "", "Wait.")) as remote:
        events = remote.stream("/chat/completions", {})
        if len(answer) > 1:
            assert next(events)[0]["choices"]
        threading.Timer(0.2, line.cut).start()
        assert next(events) == SILENCE
        with pytest.raises(Unavailable):
            next(events)
        wait_until(lambda: engine.left == 1, 10)


def test_a_hang_up_is_heard_through_the_server_while_nothing_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.engines.event_source.BEAT", 250.0)
    with Server([say("one "), 280.0]) as engine:
        given = {"engine": "openai", "engine_url": engine.url, "model": "m", "rewrite": "off"}
        with open_here(load_settings(home=tmp_path, **given)) as context:
            listener = bind("127.0.0.1", 0, "REDRAFT_PORT")
            server = server_on(listener, context)
            thread = threading.Thread(target=server.run)
            thread.start()
            with socket.create_connection(listener.getsockname()) as client:
                data = json.dumps({**CHAT, "stream": True}).encode()
                client.sendall(
                    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: "
                    b"application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data)
                )
                seen = b""
                while b"one " not in seen:
                    seen += client.recv(9999)
            wait_until(lambda: engine.left == 1, 10)
            server.task_dispatcher.shutdown()
            server.close()
            thread.join(10)


@pytest.fixture
def here(tmp_path: Any) -> Iterator[Context]:
    with open_here(load_settings(home=tmp_path, engine="echo", rewrite="off")) as context:
        yield context


@pytest.mark.parametrize("path, body", ASKED)
def test_an_answer_that_nobody_heard_is_recorded_as_cancelled(
    here: Context, path: str, body: dict[str, Any]
) -> None:
    slow = json.loads(json.dumps(body).replace('"hi"', '"/slow 60 word"'))
    gone = {"waitress.client_disconnected": lambda: True}
    answer = create_app(here).test_client().post(path, json=slow, environ_overrides=gone)
    if "stream" in body:
        assert "[DONE]" not in answer.text
    else:
        assert answer.status_code == 499
    with here.database.reading() as session:
        found = session.scalars(select(Completion.finish_reason)).all()
    assert found == ([] if path == "/v1/completions" else ["cancelled"])


def test_a_long_silence_is_filled_with_comments(
    here: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.engines.echo.BEAT", 0.01)
    said = {**CHAT, "messages": [{"role": "user", "content": f"/slow {COMFORT * 0.021} a"}]}
    text = (
        create_app(here)
        .test_client()
        .post("/v1/chat/completions", json={**said, "stream": True})
        .text
    )
    assert text.count(COMMENT) == 2 and text.endswith("data: [DONE]\n\n")
