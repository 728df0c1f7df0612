"""Engines that are servers of their own: every way in which one can be absent is told in words."""

import contextlib
import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import free_port

from serve.engines import open_engine
from serve.engines.base import Chunk, Engine, EngineError, Options, Sampling, Unavailable
from serve.engines.remote import Remote

ASK = [{"role": "user", "content": "hi"}]
MODELS = {"data": [{"id": "m", "max_model_len": 100}]}


class Server:
    """Answers GET with `models` and each POST with the next of `answers`: a status and a body, or
    a list of events, of which None breaks the connection and a number is a silence in seconds."""

    def __init__(self, *answers: Any, models: Any = MODELS) -> None:
        self.asked: list[dict[str, Any]] = []
        self.key: str | None = None
        self.stop = threading.Event()
        queue, server = list(answers), self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.key = self.headers.get("authorization")
                self._whole(*(models if isinstance(models, tuple) else (200, models)))

            def do_POST(self) -> None:
                server.asked.append(
                    json.loads(self.rfile.read(int(self.headers["content-length"])))
                )
                answer = queue.pop(0)
                if isinstance(answer, tuple):
                    self._whole(*answer)
                else:
                    self._stream(answer)

            def _whole(self, status: int, body: Any) -> None:
                data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _stream(self, events: Sequence[Any]) -> None:
                self.send_response(200)
                self.send_header("content-length", "100000")  # an early end is a broken one
                self.end_headers()
                for event in events:
                    if isinstance(event, float):
                        server.stop.wait(event)
                    elif event is not None:
                        data = event if isinstance(event, str) else json.dumps(event)
                        self.wfile.write(f"data: {data}\n\n".encode())

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    def __enter__(self) -> "Server":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@contextlib.contextmanager
def opened(server: Server, **options: Any) -> Iterator[Engine]:
    engine = open_engine("openai", "m", Path(), Options(url=server.url, **options))
    yield engine
    engine.close()


def say(text: str, reason: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": reason}]}


def write(engine: Engine, **sampling: Any) -> list[Chunk]:
    return list(engine.generate(engine.encode_chat(ASK), Sampling(**sampling)))


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
        ([say("o"), None], "does not answer: peer closed connection"),
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
