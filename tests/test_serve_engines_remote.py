"""Engines that are servers of their own: every way in which one can be absent is told in words."""

import base64
import contextlib
import itertools
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import free_port, wait_until
from engine_server import Server, say

from serve.engines import open_engine
from serve.engines.base import QUIET, Chunk, Engine, EngineError, Options, Sampling, Unavailable
from serve.engines.event_source import EventSource
from serve.engines.remote import SILENCE, Remote

ASK = [{"role": "user", "content": "hi"}]


@contextlib.contextmanager
def opened(server: Server, **options: Any) -> Iterator[Engine]:
    engine = open_engine("openai", "m", Path(), Options(url=server.url, **options))
    yield engine
    engine.close()


def write(engine: Engine, **sampling: Any) -> list[Chunk]:
    chunks = engine.generate(engine.encode_chat(ASK), Sampling(**sampling))
    return [chunk for chunk in chunks if chunk is not QUIET]


@pytest.mark.parametrize("name", ["openai", "vllm"])
def test_a_server_that_is_away_is_named_with_what_to_do(name: str) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(Unavailable, match=f"{url} does not answer.*set REDRAFT_ENGINE_URL"):
        open_engine(name, "m", Path(), Options(url=url))


def test_a_vllm_of_ours_that_is_away_is_named_with_its_log(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(Unavailable, match=f"127.0.0.1:{port}/v1.*redraft up.*{tmp_path}/vllm.log"):
        open_engine("vllm", "m", tmp_path, Options(vllm_port=port))


@pytest.mark.parametrize("url", ["localhost:8000/v1", "ftp://x/v1", "http://[::1/v1"])
def test_what_is_no_url_is_refused_by_the_settings_name(url: str) -> None:
    with pytest.raises(EngineError, match="REDRAFT_ENGINE_URL"):
        open_engine("openai", "m", Path(), Options(url=url))


def test_a_wrong_key_and_a_missing_model_are_named() -> None:
    with Server(models=(401, {"error": {"message": "no such key"}})) as server:
        with pytest.raises(EngineError, match="no such key.*REDRAFT_ENGINE_API_KEY"):
            open_engine("openai", "m", Path(), Options(url=server.url))
    with Server() as server:
        with pytest.raises(EngineError, match="no model 'gpt'.*one that it has: m"):
            open_engine("openai", "gpt", Path(), Options(url=server.url))


def test_a_server_that_is_not_vllm_or_serves_another_model_is_told_apart() -> None:
    with Server() as server:
        with pytest.raises(EngineError, match="serves m; REDRAFT_MODEL is other"):
            open_engine("vllm", "other", Path(), Options(url=server.url))
    with Server(models={"data": [{"id": "m"}]}) as server:
        with pytest.raises(EngineError, match="is not vLLM.*REDRAFT_ENGINE=openai"):
            open_engine("vllm", "m", Path(), Options(url=server.url))


def test_the_key_and_the_window_are_used() -> None:
    with Server() as server, opened(server, api_key="secret") as engine:
        assert server.key == "Bearer secret"
        assert engine.context_window == 100
    with Server(models=(404, "nothing here")) as server, opened(server) as engine:
        assert engine.context_window == 8192
    with Server() as server, opened(server, context_window=50) as engine:
        assert engine.context_window == 50


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([say("o"), None], "does not answer: its answer broke off before the end"),
        ([say("o"), {"error": {"message": "out of memory"}}], "out of memory"),
        ([say("o"), "no json"], "does not speak OpenAI's API"),
        ((500, {"error": {"message": "it burns"}}), "500: it burns"),
        ((429, {"error": {"message": "too many"}}), "429: too many"),
        ((502, "<html>bad gateway</html>"), "502: <html>bad gateway"),
    ],
)
def test_a_server_that_breaks_is_unavailable(answer: Any, words: str) -> None:
    with Server(answer) as server, opened(server) as engine:
        with pytest.raises(Unavailable, match=words):
            write(engine)


def test_what_was_written_before_the_break_came_through() -> None:
    with Server([say("one "), say("two"), None]) as server, opened(server) as engine:
        chunks = engine.generate(engine.encode_chat(ASK), Sampling())
        assert [next(chunks).text, next(chunks).text] == ["one ", "two"]
        with pytest.raises(Unavailable):
            next(chunks)


def test_a_silent_server_is_given_up() -> None:
    with Server([say("o"), 60.0]) as server:
        remote = Remote("The server", server.url, "", "Start it.", patience=0.2)
        with pytest.raises(Unavailable, match="sent nothing for 0.2 s. Start it."):
            list(remote.stream("/chat/completions", {}))
        remote.close()


@pytest.mark.parametrize("events", [[60.0], [say("o"), 60.0]])
def test_a_silence_is_told_and_may_be_left(events: list[Any]) -> None:
    with Server(events) as server, opened(server) as engine:
        chunks = engine.generate(engine.encode_chat(ASK), Sampling())
        told = list(itertools.islice(chunks, len(events) + 1))
        assert [c is QUIET for c in told] == [False] * (len(events) - 1) + [True] * 2
        chunks.close()  # type: ignore[attr-defined]
        wait_until(lambda: server.left == 1, 10)


def test_comments_of_a_server_are_a_silence_too() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with one_answer(head + b"b\r\n: working\n\n\r\n") as url:
        remote = Remote("The server", url, "", "Start it.")
        with contextlib.closing(remote.stream("/chat/completions", {})) as events:
            assert next(events) == SILENCE
        remote.close()


def test_a_server_that_does_not_take_connections_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(3)]  # fill the queue of the listener
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        source = EventSource(httpx.URL(f"http://127.0.0.1:{address[1]}"), {}, 0.2, 5, False)
        with pytest.raises(ConnectionError, match="no connection after 0.2 s"):
            source.ask("/chat/completions", {})
        for each in waiting:
            each.close()


def test_events_that_chunks_cut_anywhere_are_whole() -> None:
    data = "".join(f"data: {json.dumps(say(text), ensure_ascii=False)}\r\n\r\n" for text in "aé世")
    told = (data + "data: [DONE]\n\n").encode()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    parts = [told[at : at + 5] for at in range(0, len(told), 5)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    with one_answer(head + chunks + b"0\r\n\r\n") as url:
        remote = Remote("The server", url, "", "Start it.")
        events = [event for event, _ in remote.stream("/chat/completions", {}) if event]
        remote.close()
    assert [event["choices"][0]["delta"]["content"] for event in events] == list("aé世")


@contextlib.contextmanager
def one_answer(answer: bytes) -> Iterator[str]:
    """The URL of a server that gives these bytes to whoever comes first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        thread.join()


def test_a_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    end = [say("a", "stop"), "[DONE]"]
    with Server(end) as proxy:
        place = proxy.url.removeprefix("http://").removesuffix("/v1")
        monkeypatch.setenv("http_proxy", f"http://me:p%40ss@{place}")
        options = Options(url="http://engine.test/v1")
        engine = open_engine("openai", "m", Path(), options)
        assert [c.text for c in write(engine)] == ["a"]
        engine.close()
        monkeypatch.setenv("no_proxy", "engine.test")
        with pytest.raises(Unavailable, match="engine.test"):
            open_engine("openai", "m", Path(), options)
    assert proxy.paths == ["http://engine.test/v1/models", "http://engine.test/v1/chat/completions"]
    assert proxy.login == "Basic " + base64.b64encode(b"me:p@ss").decode()


def test_missing_drafts_are_an_error() -> None:
    with Server([say("a", "stop"), "[DONE]"]) as server, opened(server) as engine:
        with pytest.raises(EngineError, match="1 of 2 drafts.*REDRAFT_MAX_DRAFTS=1"):
            write(engine, n=2)


def test_a_server_of_the_newer_parameter_is_asked_with_it() -> None:
    no = {"error": {"message": "Use 'max_completion_tokens' instead of 'max_tokens'."}}
    end = [say("a", "stop"), "[DONE]"]
    with Server((400, no), end, end) as server, opened(server) as engine:
        assert [c.text for c in write(engine, max_tokens=7)] == ["a"]
        assert [c.text for c in write(engine, max_tokens=8)] == ["a"]
        limits = [(a.get("max_tokens"), a.get("max_completion_tokens")) for a in server.asked]
    assert limits == [(7, None), (None, 7), (None, 8)]


def test_parameters_at_rest_are_left_out_and_others_sent() -> None:
    end = [say("{}", "stop"), "[DONE]"]
    with Server(end, end) as server, opened(server) as engine:
        write(engine, temperature=0.5)
        write(engine, top_p=0.9, seed=4, presence_penalty=1.0, schema='{"type": "object"}')
        plain, full = server.asked
    assert plain.keys() == {"model", "stream", "temperature", "messages", "max_tokens"}
    assert (full["top_p"], full["seed"], full["presence_penalty"]) == (0.9, 4, 1.0)
    assert full["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_an_answer_that_does_not_fit_its_schema_is_an_error() -> None:
    schema = '{"type": "object"}'
    with Server([say("sure, "), say("{}", "stop"), "[DONE]"]) as server, opened(server) as engine:
        with pytest.raises(EngineError, match="'sure, {}'.*no response_format"):
            write(engine, schema=schema)


def test_an_answer_cannot_be_continued_and_a_raw_text_can() -> None:
    raw = [{"choices": [{"index": 0, "text": "b", "finish_reason": "length"}]}, "[DONE]"]
    with Server(raw) as server, opened(server) as engine:
        with pytest.raises(EngineError, match="in the middle of an answer"):
            list(engine.generate([*engine.encode_chat(ASK), *engine.encode("so")], Sampling()))
        assert [c.text for c in engine.generate(engine.encode("a"), Sampling())] == ["b"]
        assert server.asked[0]["prompt"] == "a"
