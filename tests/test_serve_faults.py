"""What a client, the record and the next request see when an engine is down, slow or dies."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from api_context import open_here
from engine_server import Server, say
from flask.testing import FlaskClient
from sqlalchemy import select

from feedback.tables import Completion
from serve.api import create_app
from serve.api.context import Context
from serve.engines.paged import PagedBatch
from serve.metrics import REGISTRY
from serve.settings import load_settings

WORDS = [say("one "), say("two ")]
WHOLE = [*WORDS, say("", "stop"), "[DONE]"]
CHAT, TEXT, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
ASKED: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "hi"}]},
    TEXT: {"prompt": "hi"},
    RESPONSES: {"input": "hi"},
}
ENDPOINTS = pytest.mark.parametrize("path", ASKED)


@dataclass
class Site:
    """The API over engine `openai`, whose server goes where the test sends it."""

    here: Context
    server: Server

    @property
    def api(self) -> FlaskClient:
        return create_app(self.here).test_client()

    def post(self, path: str, **more: Any) -> Any:
        return self.api.post(path, json={"model": "redraft", **ASKED[path], **more})

    def newest(self) -> Completion:
        """The answer that was recorded last."""
        newest = select(Completion).order_by(Completion.created_at.desc()).limit(1)
        with self.here.database.reading() as session:
            found = session.scalar(newest)
        assert found is not None
        return found

    def is_idle(self) -> bool:
        """Nothing holds an adapter, and no answer counts as under way."""
        running = REGISTRY.get_sample_value("redraft_generations_running")
        return not any(self.here.serving._writing.values()) and running == 0


@pytest.fixture
def site(tmp_path: Any) -> Iterator[Site]:
    with Server() as server:
        given = {"engine": "openai", "engine_url": server.url, "model": "m", "rewrite": "off"}
        with open_here(load_settings(home=tmp_path, **given)) as here:
            yield Site(here, server)
            here.chat.engine.close()


def error_of(text: str) -> dict[str, Any]:
    """The error that ends a stream."""
    *_, last, done = filter(None, text.split("\n\n"))
    assert done == "data: [DONE]"
    told = json.loads(last.partition("data: ")[2])
    error = told.get("error") or told["response"]["error"]
    return error  # type: ignore[no-any-return]


@ENDPOINTS
def test_an_engine_that_is_down_is_a_503_until_it_is_back(site: Site, path: str) -> None:
    site.server.__exit__()
    whole = site.post(path)
    error = whole.json["error"]
    assert (whole.status_code, error["code"]) == (503, "engine_unavailable")
    assert f"{site.server.url} does not answer" in error["message"]
    assert "does not answer" in error_of(site.post(path, stream=True).text)["message"]
    assert site.api.get("/readyz").status_code == 503
    assert site.is_idle()
    if path != TEXT:
        assert (site.newest().text, site.newest().finish_reason) == ("", "interrupted")
    with Server(_answer(path), port=site.server.port):
        assert "one two" in site.post(path).text
        assert site.api.get("/readyz").status_code == 200


@ENDPOINTS
@pytest.mark.parametrize("streamed", [True, False])
def test_an_engine_that_dies_leaves_what_it_wrote_as_interrupted(
    site: Site, path: str, streamed: bool
) -> None:
    site.server.queue += [[*_answer(path)[:2], None], _answer(path)]
    broken = site.post(path, stream=streamed)
    error = error_of(broken.text) if streamed else broken.json["error"]
    assert "broken" in error["message"] or "does not answer" in error["message"]
    assert broken.status_code == (200 if streamed else 503)
    assert not streamed or "one " in broken.text
    assert site.is_idle()
    if path != TEXT:
        found = site.newest()
        assert (found.text, found.finish_reason) == ("one two ", "interrupted")
    again = site.post(path, stream=streamed).text  # the place is free
    assert "two " in again and "does not answer" not in again


def test_a_silent_engine_is_given_up_and_holds_nobody_else(site: Site) -> None:
    remote = site.here.chat.engine._remote  # type: ignore[attr-defined]
    remote._patience = remote._source._patience = 2.0
    site.server.queue += [[WORDS[0], 60.0], WHOLE]
    with _open(site) as slow:
        parts = iter(slow.response)
        assert b"one " in b"".join(_until(parts, b"one "))
        assert "one two" in site.post(CHAT).text  # meanwhile
        rest = b"".join(parts).decode()
    assert "sent nothing for 2 s" in error_of(rest)["message"]
    interrupted = select(Completion).where(Completion.finish_reason == "interrupted")
    with site.here.database.reading() as session:
        [found] = session.scalars(interrupted)
    assert found.text == "one " and site.is_idle()


def test_an_engine_that_knows_our_key_no_more_is_named_with_its_setting(site: Site) -> None:
    site.server.queue += [(401, {"error": {"message": "no such key"}})]
    answer = site.post(CHAT)
    assert answer.status_code == 500
    assert "REDRAFT_ENGINE_API_KEY" in answer.json["error"]["message"]
    assert site.newest().finish_reason == "interrupted" and site.is_idle()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["openvino", "transformers"])
def test_weights_that_break_in_the_middle_free_every_place(
    tmp_path: Any, tiny_model: Any, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    given = {"engine": engine, "model": str(tiny_model), "rewrite": "off", "max_tokens": 100}
    with open_here(load_settings(home=tmp_path, **given)) as here:
        site = Site(here, None)  # type: ignore[arg-type]
        _break_at(8, here.chat.engine, monkeypatch)
        broken = site.post(CHAT, stream=True, seed=1)
        assert error_of(broken.text)["code"] == "internal_error"
        assert site.newest().finish_reason == "interrupted" and site.newest().token_ids
        assert site.is_idle()
        assert here.chat.engine._decoder._batches.rows == 0  # type: ignore[attr-defined]
        assert site.post(CHAT, max_tokens=4).status_code == 200
        here.chat.engine.close()


def _answer(path: str) -> list[Any]:
    """What the engine's server is to say for a request there."""
    if path != TEXT:
        return WHOLE
    ends = (("one ", None), ("two ", None), ("", "stop"))
    told = [{"choices": [{"index": 0, "text": t, "finish_reason": end}]} for t, end in ends]
    return [*told, "[DONE]"]


def _open(site: Site) -> Any:
    """A chat whose stream is read as it comes."""
    body = {"model": "redraft", **ASKED[CHAT], "stream": True}
    return site.api.post(CHAT, json=body, buffered=False)


def _until(parts: Iterator[bytes], words: bytes) -> list[bytes]:
    """The parts up to the one that has the words."""
    found = []
    for part in parts:
        found.append(part)
        if words in part:
            return found
    raise AssertionError(f"{words!r} never came: {found}")


def _break_at(step: int, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the weights break when they are used the so-manieth time from now."""
    name = "logits" if engine.name == "openvino" else "forward"
    weights, steps = engine._weights[None], itertools.count(1)
    compute = getattr(weights, name)

    def broken(*args: Any, **options: Any) -> Any:
        if next(steps) == step:
            raise RuntimeError("the device is gone")
        return compute(*args, **options)

    monkeypatch.setattr(weights, name, broken)


def test_a_defect_in_a_step_breaks_the_answers_and_not_the_thread(
    tmp_path: Any, tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"engine": "openvino", "model": str(tiny_model), "rewrite": "off", "max_tokens": 4}
    with open_here(load_settings(home=tmp_path, **given)) as here:
        site = Site(here, None)  # type: ignore[arg-type]
        with monkeypatch.context() as broken:
            broken.setattr(PagedBatch, "_plan", lambda *_: 1 / 0)
            broken.setattr(PagedBatch, "_fail", _fail_once(PagedBatch._fail))
            assert site.post(CHAT).status_code == 500
        assert site.is_idle() and site.post(CHAT).status_code == 200
        here.chat.engine.close()


def _fail_once(fail: Any) -> Any:
    """What fails itself the first time that it is to tell of a failure."""
    times = itertools.count()

    def told(*args: Any) -> None:
        if next(times) == 0:
            raise RuntimeError("a defect")
        fail(*args)

    return told
