"""What operators see: metrics, logs with request ids and without words, readiness and its why."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Redraft, wait_until
from flask.testing import FlaskClient
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from feedback import users
from feedback.database import open_database
from serve import logs
from serve.api import create_app
from serve.api.context import Context
from serve.engines.echo import EchoEngine
from serve.engines.remote import Remote
from serve.metrics import REGISTRY

SECRET = "xyzzy-plugh-plover"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a server with REDRAFT_LOG=json writes to standard error."""
    written, root = io.StringIO(), logging.getLogger()
    before, levels = root.handlers[:], {n: logging.getLogger(n).level for n in ("", "redraft")}
    monkeypatch.setattr("sys.stderr", written)
    logs.log_to_stderr("api", "json")
    yield written
    root.handlers[:] = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    logs.requests.setLevel(logging.NOTSET)


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def ask(api: FlaskClient, text: str, **body: Any) -> Any:
    given = {"model": "redraft", "messages": [{"role": "user", "content": text}], **body}
    with api.post("/v1/chat/completions", json=given) as answer:
        return answer.data


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_an_answer_is_counted_with_its_tokens_and_its_first_one(api: FlaskClient) -> None:
    names = ("redraft_completion_tokens_total", "redraft_first_token_seconds_count")
    before = [value(name, adapter="base") for name in names]
    prompts = value("redraft_prompt_tokens_total")
    whole = value("redraft_generations_total", adapter="base", outcome="whole")
    usage = json.loads(ask(api, "count me"))["usage"]
    ask(api, "and me", stream=True)
    after = [value(name, adapter="base") for name in names]
    assert after[0] - before[0] >= usage["completion_tokens"] + 1
    assert after[1] - before[1] == 2
    assert value("redraft_prompt_tokens_total") - prompts >= 2 * usage["prompt_tokens"] - 5
    assert value("redraft_generations_total", adapter="base", outcome="whole") - whole == 2
    assert value("redraft_generations_running") == 0


def test_what_breaks_and_what_is_cancelled_is_counted_as_that(api: FlaskClient) -> None:
    def outcomes() -> list[float]:
        name = "redraft_generations_total"
        return [value(name, adapter="base", outcome=o) for o in ("failed", "cancelled")]

    before = outcomes()
    ask(api, "/fail half")
    given = {
        "model": "redraft",
        "messages": [{"role": "user", "content": "/say a b c d e"}],
        "stream": True,
    }
    answer = api.post("/v1/chat/completions", json=given, buffered=False)
    parts = iter(answer.response)
    next(parts), next(parts)
    assert value("redraft_generations_running") == 1
    answer.close()
    assert [a - b for a, b in zip(outcomes(), before, strict=True)] == [1, 1]
    assert value("redraft_generations_running") == 0


def test_requests_are_counted_by_route_and_status(api: FlaskClient) -> None:
    def count(route: str, status: str) -> float:
        return value("redraft_requests_total", method="GET", route=route, status=status)

    route = "/v1/conversations/<conversation_id>"
    before = count(route, "404"), count("none", "404"), count("/v1/conversations", "200")
    for path in ("/v1/conversations/conv_x", f"/v1/{SECRET}", f"/v1/conversations?q={SECRET}"):
        api.get(path).close()
    after = count(route, "404"), count("none", "404"), count("/v1/conversations", "200")
    assert [a - b for a, b in zip(after, before, strict=True)] == [1, 1, 1]


def test_a_method_that_is_none_is_no_label_of_its_own(api: FlaskClient) -> None:
    counted = {"method": "other", "route": "none", "status": "405"}
    before = value("redraft_requests_total", **counted)
    for method in ("BREW", "X" * 1000):
        api.open("/v1/models", method=method).close()
    assert value("redraft_requests_total", **counted) - before == 2
    assert "BREW" not in generate_latest(REGISTRY).decode()


def test_feedback_is_counted_once_by_kind(api: FlaskClient) -> None:
    ours = json.loads(ask(api, "rate me"))["redraft"]
    up = {"kind": "rating", "completion_id": ours["completion_ids"][0], "value": 1}
    before = value("redraft_feedback_total", kind="rating", value="1")
    for _ in range(3):
        api.post("/v1/feedback", json=up, headers={"Idempotency-Key": ours["turn_id"]})
    api.post("/v1/feedback", json={**up, "value": 5})
    assert value("redraft_feedback_total", kind="rating", value="1") - before == 1


def test_metrics_are_prometheus_own_format_and_say_what_serves(api: FlaskClient) -> None:
    ask(api, SECRET)
    answer = api.get("/metrics")
    assert answer.content_type.startswith("text/plain")
    found = {family.name: family for family in text_string_to_metric_families(answer.text)}
    [serving] = found["redraft_adapter_in_service"].samples
    assert serving.labels == {"adapter": "base", "model": "smollm2-135m", "engine": "echo"}
    assert SECRET not in answer.text and "conv_" not in answer.text
    assert {"redraft_requests", "redraft_feedback", "redraft_requests_waiting"} <= set(found)


def test_metrics_ask_for_a_reviewer(here: Context) -> None:
    with here.database.session() as session:
        key = {"Authorization": f"Bearer {users.new_key(session, 'ada')}"}
    assert create_app(here).test_client().get("/metrics", headers=key).status_code == 403


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("abc-1.2:3_x", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("a b", False),
        ('{"level": "error"}', False),
        ("né", False),
        ("", False),
    ],
)
def test_a_request_id_is_taken_when_it_is_one(api: FlaskClient, given: str, kept: bool) -> None:
    for path in ("/healthz", "/v1/nothing", "/v1/models/none"):
        answer = api.get(path, headers={"X-Request-Id": given.encode().decode("latin-1")})
        found = answer.headers["X-Request-Id"]
        assert found == given if kept else found.startswith("req_") and len(found) == 36


def test_each_request_is_a_line_of_json_with_its_id(api: FlaskClient, log: io.StringIO) -> None:
    api.get("/v1/models?q=1", headers={"X-Request-Id": "mine-1"}).close()
    api.post("/v1/chat/completions", json={}).close()
    first, second = lines(log)
    assert first["request_id"] == "mine-1" and first["process"] == "api"
    assert (first["method"], first["route"], first["status"]) == ("GET", "/v1/models", 200)
    assert first["user"].startswith("usr_") and first["seconds"] >= 0
    assert (second["status"], second["level"]) == (400, "info")
    assert second["request_id"] != "mine-1"


def test_no_words_of_people_are_in_the_log(
    here: Context, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = create_app(here).test_client()
    ours = json.loads(ask(api, SECRET))["redraft"]
    ask(api, f"/fail {SECRET}")
    ask(api, f"/fail {SECRET}", stream=True)
    ask(api, SECRET, temperature=SECRET)
    ask(api, SECRET * 2000)  # beyond the window
    completion = ours["completion_ids"][0]
    for body in (
        {"kind": "correction", "completion_id": completion, "text": SECRET},
        {"kind": "rating", "completion_id": completion, "value": 1, "comment": SECRET},
        {"kind": "rating", "completion_id": SECRET, "value": SECRET},
    ):
        api.post("/v1/feedback", json=body).close()
    for method, path in (
        ("GET", f"/v1/conversations?q={SECRET}"),
        ("GET", f"/v1/conversations?after={SECRET}"),
        ("GET", f"/v1/{SECRET}"),
        ("PATCH", f"/v1/conversations/{ours['conversation_id']}"),
    ):
        api.open(path, method=method, json={"title": SECRET}).close()
    api.post("/v1/completions", json={"model": "base", "prompt": SECRET}).close()
    api.post("/v1/responses", json={"model": "base", "input": SECRET}).close()
    api.post("/algorithm/ChatRest", json={"prompt": SECRET}).close()
    api.post("/v1/rewrite", json={"messages": [{"role": "user", "content": SECRET}]}).close()
    api.post("/v1/session", json={"name": SECRET, "password": SECRET}).close()
    api.post("/v1/chat/completions", data=f'{{"{SECRET}').close()
    # A database that breaks tells the statement, whose parameters are people's words.
    monkeypatch.setattr("feedback.record.new_id", lambda prefix: ours["turn_id"])
    twice = {"kind": "correction", "completion_id": completion, "text": SECRET}
    for _ in range(2):
        broken = api.post("/v1/feedback", json=twice)
    assert broken.status_code == 500
    said = log.getvalue()
    assert len(lines(log)) > 18 and "IntegrityError" in said
    assert SECRET not in said and "plugh" not in said


def test_errors_name_the_request_that_met_them(api: FlaskClient, log: io.StringIO) -> None:
    given = {"model": "redraft", "messages": [{"role": "user", "content": "/fail x"}]}
    api.post("/v1/chat/completions", json=given, headers={"X-Request-Id": "the-one"}).close()
    errors = [line for line in lines(log) if line["level"] == "error"]
    assert errors and {line["request_id"] for line in errors} == {"the-one"}


def test_a_server_without_its_database_says_so(here: Context, tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'gone.db'}")
    api = create_app(replace(here, database=database)).test_client()
    assert api.get("/readyz").json["status"] == "ready"  # type: ignore[index]
    database.close()
    (tmp_path / "gone.db").unlink()
    (tmp_path / "gone.db").mkdir()
    answer = api.get("/readyz")
    assert answer.status_code == 503 and answer.json["status"] == "not ready"  # type: ignore[index]
    assert list(answer.json["problems"]) == ["database"]  # type: ignore[index]
    database.close()


class Away(EchoEngine):
    """An engine whose server is gone."""

    remote = Remote("openai", "http://127.0.0.1:1/v1", "", "Start it.")

    def problem(self) -> str | None:
        return self.remote.problem()


def test_a_server_without_its_engine_says_so(
    here: Context, api: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(here.chat, "engine", Away("smollm2-135m"))
    answer = api.get("/readyz")
    Away.remote.close()
    assert answer.status_code == 503
    assert "http://127.0.0.1:1/v1" in answer.json["problems"]["engine"]  # type: ignore[index]


def test_a_champion_that_does_not_serve_degrades_and_no_more(
    here: Context, api: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble = {"champion": "Champion a-1 does not serve, the base does: x"}
    monkeypatch.setattr(here.serving, "_troubles", trouble)
    answer = api.get("/readyz")
    assert answer.status_code == 200 and answer.json["status"] == "degraded"  # type: ignore[index]
    assert "Champion a-1" in answer.json["problems"]["adapter"]  # type: ignore[index]


@pytest.mark.slow
def test_a_real_server_logs_json_and_counts_over_http(make_redraft: Callable[..., Redraft]) -> None:
    server = make_redraft(engine="echo", log="json").start("--no-page", "--no-scheduler")
    server.http.get("/v1/models", headers={"X-Request-Id": "from-a-proxy"})
    server.ask(SECRET)
    told = server.http.get("/metrics").text
    assert 'redraft_requests_total{method="GET",route="/v1/models",status="200"} 1.0' in told
    assert "redraft_requests_waiting 0.0" in told
    wait_until(lambda: '"request_id": "from-a-proxy"' in server.log.read_text(), 10)
    written = server.log.read_text()
    assert SECRET not in written
    assert all(line[0] == "{" or "Redraft is ready" in line for line in written.splitlines())
