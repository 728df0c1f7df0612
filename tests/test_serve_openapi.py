"""The API document: every route is in it, and what it says of their bodies is so."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from pydantic import BaseModel

from feedback.database import open_database
from feedback.migrate import migrate
from serve.api import create_app
from serve.api.context import open_context
from serve.api.openapi import routes
from serve.api.operation import operation_of
from serve.api.parameters import CHAT_REFUSED, COMPLETION_REFUSED, RESPONSE_REFUSED, Labels
from serve.settings import load_settings


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    settings = load_settings(home=tmp_path_factory.mktemp("home"), engine="echo")
    database = open_database(settings.database_url)
    migrate(database)
    database.close()
    context = open_context(settings)
    yield create_app(context)
    context.database.close()


@pytest.fixture(scope="module")
def document(app: Flask) -> dict[str, Any]:
    return app.test_client().get("/openapi.json").json  # type: ignore[no-any-return]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from ([value["$ref"]] if "$ref" in value else [])
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from references(item)


def test_every_route_is_in_the_document_and_nothing_else(
    app: Flask, document: dict[str, Any]
) -> None:
    told = {(path, method) for path, item in document["paths"].items() for method in item}
    assert told == {(path, method.lower()) for path, method, _ in routes(app)}
    assert ("/v1/chat/completions", "post") in told and ("/openapi.json", "get") in told


def test_every_operation_is_whole(document: dict[str, Any]) -> None:
    operations = [o for item in document["paths"].values() for o in item.values()]
    assert len({o["operationId"] for o in operations}) == len(operations)
    assert all(o["summary"] and o["responses"] and "security" in o for o in operations)
    for path, item in document["paths"].items():
        for found in item.values():
            names = {p["name"] for p in found.get("parameters", []) if p["in"] == "path"}
            assert names == {part[1:-1] for part in path.split("/") if part.startswith("{")}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert "#/components/schemas/ChatRequest" in found
    for reference in found:
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


def test_a_body_is_refused_as_the_document_says(app: Flask, document: dict[str, Any]) -> None:
    api = app.test_client()
    strict = [
        (path, method, body)
        for path, method, rule in routes(app)
        if isinstance(body := operation_of(app.view_functions[rule.endpoint]).body, type)
    ]
    assert len(strict) >= 4
    for path, method, body in strict:
        assert issubclass(body, BaseModel)
        schema = document["components"]["schemas"][body.__name__]
        assert schema["additionalProperties"] is False
        for name in schema.get("required", []):
            given = {other: "x" for other in schema["required"] if other != name}
            answer = api.open(path, method=method, json=given)
            assert answer.status_code == 400 and name in answer.text
        assert "no_such_thing" in api.open(path, method=method, json={"no_such_thing": 1}).text


def test_what_is_refused_is_not_offered(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert not set(CHAT_REFUSED) & set(schemas["ChatRequest"]["properties"])
    assert not set(COMPLETION_REFUSED) & set(schemas["CompletionRequest"]["properties"])
    assert not set(RESPONSE_REFUSED) & set(schemas["ResponseRequest"]["properties"])
    assert set(Labels.model_fields) <= set(schemas["ChatRequest"]["properties"])


def test_statuses_are_those_that_come(app: Flask, document: dict[str, Any]) -> None:
    def told(path: str, method: str) -> set[str]:
        return set(document["paths"][path][method]["responses"]) - {"default"}

    api = app.test_client()
    ask = {"model": "redraft", "messages": [{"role": "user", "content": "hi"}]}
    completion = api.post("/v1/chat/completions", json=ask).json["redraft"]["completion_ids"][0]  # type: ignore[index]
    rating = {"kind": "rating", "completion_id": completion, "value": 1}
    made = api.post("/v1/feedback", json=rating)
    assert told("/v1/feedback", "post") == {str(made.status_code)}
    gone = api.delete(f"/v1/feedback/{made.json['id']}")  # type: ignore[index]
    assert told("/v1/feedback/{feedback_id}", "delete") == {str(gone.status_code)}
    for path in ("/healthz", "/readyz", "/v1/models", "/openapi.json"):
        assert told(path, "get") == {str(api.get(path).status_code)}


def test_what_is_public_answers_without_a_key(document: dict[str, Any], app: Flask) -> None:
    asked = [(p, m, o) for p, item in document["paths"].items() for m, o in item.items()]
    public = {(path, method) for path, method, found in asked if not found["security"]}
    open_to_all = {"/health", "/healthz", "/readyz", "/openapi.json"}
    assert public == {("/v1/session", "post"), *((path, "get") for path in open_to_all)}
    wrong = {"Authorization": "Bearer rd-wrong"}
    for path, method, _ in asked:
        if (path, method) != ("/v1/session", "post"):
            expected = 200 if path in open_to_all else 401
            named = path.replace("{response_id}", "resp_none")  # others are no route
            answer = app.test_client().open(named, method=method.upper(), headers=wrong)
            assert answer.status_code == expected, path


def test_a_query_is_refused_where_the_document_does_not_know_it(
    app: Flask, document: dict[str, Any]
) -> None:
    api, choices = app.test_client(), 0
    for path, item in document["paths"].items():
        known = re.sub("{.*?}", "resp_1", path)
        for parameter in item.get("get", {}).get("parameters", []):
            schema, name = parameter["schema"], parameter["name"]
            if parameter["in"] != "query" or schema["type"] == "array":
                continue
            choices += "enum" in schema
            bad = ["1&{name}=1", *(["", "nonsense"] if "enum" in schema else [])]
            for value in bad:
                said = api.get(f"{known}?{name}={value.format(name=name)}")
                error = said.get_json()["error"]
                assert (said.status_code, error["param"]) == (400, name), (path, said.text)
    assert choices >= 5
