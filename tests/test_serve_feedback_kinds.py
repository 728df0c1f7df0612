"""Reviews, implicit kinds and reasons by HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_context import open_here
from flask.testing import FlaskClient

from feedback import users
from serve.api import create_app
from serve.settings import load_settings


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    home: Path = tmp_path_factory.mktemp("home")
    with open_here(load_settings(home=home, engine="echo")) as context:
        yield create_app(context).test_client()


def bearer(api: FlaskClient, name: str, role: str) -> dict[str, str]:
    database = api.application.extensions["redraft"].database
    with database.session() as session:
        key = users.new_key(session, name)
        users.set_role(session, name, role)
    return {"Authorization": f"Bearer {key}"}


def give(api: FlaskClient, user: dict[str, str], **body: Any) -> Any:
    return api.post("/v1/feedback", json=body, headers=user)


def asked(api: FlaskClient, user: dict[str, str]) -> dict[str, Any]:
    body = {"model": "redraft", "messages": [{"role": "user", "content": "How long?"}]}
    answer = api.post("/v1/chat/completions", json=body, headers=user)
    return answer.json["redraft"]  # type: ignore[index,no-any-return]


def test_what_people_did_is_no_verdict(api: FlaskClient) -> None:
    ada = bearer(api, "ada", "user")
    (completion,) = asked(api, ada)["completion_ids"]
    for kind in ("copied", "regenerated", "abandoned"):
        made = give(api, ada, kind=kind, completion_id=completion)
        assert made.status_code == 201, made.text
        listed = api.get(f"/v1/feedback?kind={kind}", headers=ada).json["data"]  # type: ignore[index]
        assert [row["id"] for row in listed] == [made.json["id"]]
    assert api.get("/v1/feedback", headers=ada).json["data"] == []  # type: ignore[index]
    assert api.get("/v1/feedback?kind=stars", headers=ada).status_code == 400


def test_a_reviewer_reviews_and_a_user_does_not(api: FlaskClient) -> None:
    ben, eve = bearer(api, "ben", "user"), bearer(api, "eve", "reviewer")
    (completion,) = asked(api, ben)["completion_ids"]
    rating = give(api, ben, kind="rating", completion_id=completion, value=1).json["id"]
    refused = give(api, ben, kind="review", feedback_id=rating, verdict="keep")
    assert (refused.status_code, refused.json["error"]["code"]) == (403, "not_reviewer")
    made = give(api, eve, kind="review", feedback_id=rating, verdict="fix", text="Ten days.")
    assert made.status_code == 201 and made.json["text"] == "Ten days."
    assert give(api, eve, kind="rating", completion_id=completion, value=1).status_code == 404
    assert [row["id"] for row in api.get("/v1/feedback", headers=ben).json["data"]] == [rating]  # type: ignore[index]


def test_the_list_of_reasons_is_no_row_that_could_be_withdrawn(api: FlaskClient) -> None:
    assert "DELETE" not in api.options("/v1/feedback/reasons").headers["Allow"]
    assert api.delete("/v1/feedback/reasons").status_code == 405
    assert api.delete("/v1/feedback/reasons-2").status_code == 404


def test_the_reasons_are_there_to_be_shown_and_go_with_a_thumb(api: FlaskClient) -> None:
    zoe = bearer(api, "zoe", "user")
    told = api.get("/v1/feedback/reasons", headers=zoe).json["data"]  # type: ignore[index]
    assert {"key", "value", "labels"} == set(told[0])
    (completion,) = asked(api, zoe)["completion_ids"]
    for reason in told:
        body = {"kind": "rating", "completion_id": completion, "tags": [reason["key"]]}
        assert give(api, zoe, **body, value=reason["value"]).status_code == 201
        both = [other["value"] for other in told if other["key"] == reason["key"]]
        expected = 201 if len(both) == 2 else 400
        assert give(api, zoe, **body, value=-reason["value"]).status_code == expected


def test_consent_is_everybodys_own_switch(api: FlaskClient) -> None:
    one, other = bearer(api, "one", "user"), bearer(api, "other", "user")
    assert api.get("/v1/consent", headers=one).json == {"object": "consent", "given": True}
    assert api.put("/v1/consent", json={"given": False}, headers=one).json["given"] is False  # type: ignore[index]
    assert api.get("/v1/session", headers=one).json["user"]["consent"] is False  # type: ignore[index]
    assert api.get("/v1/consent", headers=other).json["given"] is True  # type: ignore[index]
    assert api.put("/v1/consent", json={"given": "no"}, headers=one).status_code == 400
