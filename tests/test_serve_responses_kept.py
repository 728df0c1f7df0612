"""What is kept of responses: read, paged, deleted, and nobody else's."""

from flask.testing import FlaskClient
from responses_api import MODEL, ask, key, refused

from serve.api.context import Context


def test_input_items_come_in_pages(api: FlaskClient) -> None:
    said = [{"role": "user", "content": str(i)} for i in range(5)]
    path = f"/v1/responses/{ask(api, said)['id']}/input_items"
    newest = api.get(f"{path}?limit=2").json
    assert [item["content"][0]["text"] for item in newest["data"]] == ["4", "3"]
    assert newest["has_more"] and newest["first_id"] == newest["data"][0]["id"]
    rest = api.get(f"{path}?after={newest['last_id']}").json
    assert [item["content"][0]["text"] for item in rest["data"]] == ["2", "1", "0"]
    refused(api.get(f"{path}?after=msg_none"), 400, "msg_none")
    refused(api.get(f"{path}?order=up"), 400, "order", "asc")
    refused(api.get(f"{path}?limit=0"), 400, "limit")
    refused(api.get(f"{path}?limit={'9' * 5000}"), 400, "limit")


def test_what_is_not_stored_cannot_be_had(api: FlaskClient) -> None:
    made = ask(api, "secret", store=False)
    assert made["store"] is False
    refused(api.get(f"/v1/responses/{made['id']}"), 404, made["id"])
    body = {"model": MODEL, "input": "more", "previous_response_id": made["id"]}
    error = refused(api.post("/v1/responses", json=body), 404, made["id"])
    assert (error["param"], error["code"]) == (
        "previous_response_id", "previous_response_not_found",
    )  # fmt: skip


def test_a_deleted_response_takes_its_content_with_it(api: FlaskClient, here: Context) -> None:
    from feedback.tables import Response as Kept

    first = ask(api, "a secret")
    second = ask(api, "more", previous_response_id=first["id"])
    path = f"/v1/responses/{first['id']}"
    assert api.delete(path).json == {"id": first["id"], "object": "response", "deleted": True}
    with here.database.reading() as session:
        assert session.get(Kept, first["id"]) is None
    for answer in (api.get(path), api.delete(path), api.get(f"{path}/input_items")):
        refused(answer, 404, first["id"])
    assert api.get(f"/v1/responses/{second['id']}").status_code == 200
    body = {"model": MODEL, "input": "x", "previous_response_id": second["id"]}
    refused(api.post("/v1/responses", json=body), 404, first["id"])


def test_what_openai_has_beside_the_ids_is_not_found(api: FlaskClient) -> None:
    for path in ("compact", "input_tokens"):
        refused(api.post(f"/v1/responses/{path}", json={}), 404, path)
    refused(api.get("/v1/responses/resp_%00"), 404)
    refused(api.put("/v1/responses/resp_1"), 405, "PUT")


def test_users_never_reach_each_others_responses(api: FlaskClient, here: Context) -> None:
    ada, bob = key(here, "ada"), key(here, "bob")
    made = ask(api, "private", headers=ada)
    path = f"/v1/responses/{made['id']}"
    reference = {"type": "item_reference", "id": made["output"][0]["id"]}
    asks = [
        {"input": "x", "previous_response_id": made["id"]},
        {"input": [reference, {"role": "user", "content": "x"}]},
        {"input": "x", "redraft": {"conversation_id": made["redraft"]["conversation_id"]}},
    ]
    for headers in (bob, {}):  # another user, and the local one, who is an admin
        refused(api.get(path, headers=headers), 404)
        refused(api.delete(path, headers=headers), 404)
        refused(api.post(f"{path}/cancel", headers=headers), 404)
        refused(api.get(f"{path}/input_items", headers=headers), 404)
        for body in asks:
            answer = api.post("/v1/responses", json={"model": MODEL, **body}, headers=headers)
            refused(answer, 404)
    assert api.get(path, headers=ada).json == made
    conversation = f"/v1/conversations/{made['redraft']['conversation_id']}"
    assert api.delete(conversation, headers=ada).status_code == 204
    refused(api.get(path, headers=ada), 404)
