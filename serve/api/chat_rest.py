"""POST /algorithm/ChatRest: one question with its history, in the envelope of an older client."""

from typing import Any

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import MethodNotAllowed

from serve.api.context import caller, context
from serve.api.errors import error_answer, error_body, error_headers, json_body
from serve.api.operation import operation
from serve.api.schemas import ChatRestRequest
from serve.api.streaming import while_heard
from serve.engines.base import Sampling
from serve.turn.draft import Question

blueprint = Blueprint("chat_rest", __name__)
PATH = "/algorithm/ChatRest"


@blueprint.post(PATH)
@operation(body=ChatRestRequest, error={"type": "object"}, answers=True)
def create() -> Response:
    """Answer `{prompt, history: [{query, answer}]}`: a turn like a chat's, in its own envelope."""
    here, user = context(), caller()
    body = ChatRestRequest.model_validate(json_body())
    settings = here.settings
    sampling = Sampling(max_tokens=settings.max_tokens, temperature=settings.temperature)
    turn = here.chat.begin(Question(user, body.messages, sampling, reasoning=settings.reasoning))
    for _ in while_heard(here.chat.run(turn)):
        pass
    # The user's own words, so that `data` can be the next turn of `history` as it is.
    data = {"query": body.prompt, "answer": turn.drafts[0].text}
    response = jsonify(_envelope(200, "解析成功", data))
    response.headers["x-redraft-adapter"] = turn.adapter
    return response


@blueprint.errorhandler(Exception)
def failed(error: Exception) -> tuple[Response, int, dict[str, str]]:
    """The error in the same envelope, under its HTTP status."""
    body, status = error_body(error)
    envelope = _envelope(status, body["error"]["message"], None)
    return jsonify(envelope), status, error_headers(error)


@blueprint.app_errorhandler(MethodNotAllowed)
def wrong_method(error: MethodNotAllowed) -> tuple[Response, int, dict[str, str]]:
    """Another method is refused before it has come to a blueprint: the path tells the form."""
    return failed(error) if request.path == PATH else error_answer(error)


def _envelope(status: int, message: str, data: dict[str, str] | None) -> dict[str, Any]:
    # "sucess" is how its clients spell it.
    return {"sucess": status == 200, "code": str(status), "msg": message, "data": data}
