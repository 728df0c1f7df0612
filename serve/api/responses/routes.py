"""POST /v1/responses, and what can be done with a response afterwards."""

from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from typing import Any, get_args

from flask import Blueprint, Response, jsonify, request
from flask.blueprints import BlueprintSetupState
from werkzeug.routing import BaseConverter

from feedback.fields import show as shown
from feedback.tables import Response as Kept, User
from serve.api.context import caller, context
from serve.api.errors import error_body, json_body
from serve.api.limits import count_background
from serve.api.operation import EVENTS, JSON, operation
from serve.api.paging import PAGE, page_arguments
from serve.api.responses import asking
from serve.api.responses.background import Jobs, jobs
from serve.api.responses.request import LOGPROBS, Includable, ResponseRequest
from serve.api.responses.state import State
from serve.api.responses.structure import refused
from serve.api.streaming import DONE, event, event_stream, while_heard


class ResponseId(BaseConverter):
    """So that what OpenAI has beside the ids, and this server has not, is not found."""

    regex = "resp_[^/]*"


def _install(state: BlueprintSetupState) -> None:
    state.app.extensions["redraft-jobs"] = Jobs()
    state.app.url_map.converters["response"] = ResponseId


blueprint = Blueprint("responses", __name__, url_prefix="/v1/responses")
blueprint.record(_install)

Json = dict[str, Any]
WHOLE = ("completed", "incomplete")
FLAG = {"type": "string", "enum": ["true", "false"], "default": "false"}
INCLUDE = {"type": "array", "items": {"type": "string", "enum": list(get_args(Includable))}}
AFTER = {"type": "integer", "minimum": 0}
ORDER = {"type": "string", "enum": ["asc", "desc"], "default": "desc"}


@blueprint.post("")
@operation(body=ResponseRequest, media=(JSON, EVENTS), answers=True)
def create() -> Response:
    """Answer items, going on from an earlier response where one is named."""
    user, state = caller(), _state()
    asked = asking.read(ResponseRequest.model_validate(json_body()), state)
    return (_in_background if asked.body.background else _now)(asked, user, state)


@blueprint.get("/<response:response_id>")
@operation(
    media=(JSON, EVENTS),
    query={"stream": FLAG, "starting_after": AFTER, "include": INCLUDE},
    answers=True,
)
def show(response_id: str) -> Response:
    """A response as it is now; of a background one also the events, `stream=true`."""
    found = _state().find(response_id)
    _check_include(found)
    stream, after = request.args.get("stream", "false"), request.args.get("starting_after")
    if stream == "false":
        if after is not None:
            raise refused("starting_after", "starting_after needs stream=true.")
        return jsonify(found.resource)
    job = jobs().find(found.id)
    if job is None:
        raise refused(
            "stream",
            f"The events of {found.id} are not kept: those of background responses are, until "
            "newer ones take their place or the server stops. Ask without stream.",
        )
    return event_stream(_told(job.follow(-1 if after is None else _number(after))))


@blueprint.delete("/<response:response_id>")
def delete(response_id: str) -> Json:
    """Remove a response with its input and output; its turn stays in the conversation."""
    _state().delete(response_id)
    return {"id": response_id, "object": "response", "deleted": True}


@blueprint.post("/<response:response_id>/cancel")
def cancel(response_id: str) -> Json:
    """Stop a background response; one that has ended stays as it is."""
    found = _state().find(response_id)
    if not found.resource["background"]:
        raise refused(
            "response_id",
            f"Response {found.id} was not made with background: true, and only such can be "
            "cancelled. Close the connection of the others.",
        )
    job = jobs().find(found.id)
    return jobs().cancel(job) if job else dict(found.resource)


@blueprint.get("/<response:response_id>/input_items")
@operation(query={**PAGE, "order": ORDER, "include": INCLUDE})
def input_items(response_id: str) -> Json:
    """The items that a response was asked with, the newest first; `order`, `limit`, `after`."""
    found = _state().find(response_id)
    _check_include(found)
    limit, after = page_arguments()
    newest_first = request.args.get("order", "desc") == "desc"
    items = found.input[::-1] if newest_first else found.input
    ids = [item["id"] for item in items]
    if after is not None and after not in ids:
        raise refused("after", f"after is {shown(after)}, which is not an item of {found.id}.")
    rest = items[ids.index(after) + 1 :] if after else items
    page = rest[:limit]
    ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {}
    none = {"first_id": None, "last_id": None}
    return {"object": "list", "data": page, **none, **ends, "has_more": len(rest) > limit}


def _state() -> State:
    return State(context().database, jobs(), caller())


def _now(asked: asking.Asked, user: User, state: State) -> Response:
    here = context()
    turn = asking.begin(here, user, asked)

    def keep(resource: Json) -> None:
        # What broke before its client was told an id could be asked for by nobody.
        if asked.body.stored and (asked.body.stream or resource["status"] in WHOLE):
            state.record(turn.conversation_id, turn.id, asked.input, resource)

    answer = asking.answer_to(here, asked, turn, keep)
    pieces = here.chat.run(turn)
    next(pieces)  # routed: the adapter is known now, also for the header
    events = answer.events(pieces)
    if asked.body.stream:
        response = event_stream(_told(events))
    else:
        for _ in while_heard(events):
            pass
        if answer.problem:
            raise answer.problem
        response = jsonify(answer.resource)
    response.headers["x-redraft-adapter"] = turn.adapter
    return response


def _in_background(asked: asking.Asked, user: User, state: State) -> Response:
    here = context()
    with ExitStack() as counted:
        counted.callback(count_background())
        turn = asking.begin(here, user, asked)
        answer = asking.answer_to(here, asked, turn, state.change)
        queued = answer.resource
        state.record(turn.conversation_id, turn.id, asked.input, queued)
        job = jobs().start(here.chat, answer, counted.pop_all().close)
    return event_stream(_told(job.follow())) if asked.body.stream else jsonify(queued)


def _told(events: Generator[Json]) -> Iterator[str]:
    """The events on the wire; the headers are out, so an error travels as one."""
    number = 0
    try:
        with closing(events):
            for one in events:
                number = one["sequence_number"] + 1 if one else number
                yield event(one, one["type"]) if one else ""
    except Exception as error:
        told = {key: error_body(error)[0]["error"][key] for key in ("code", "message", "param")}
        yield event({"type": "error", **told, "sequence_number": number}, "error")
    yield DONE


def _check_include(found: Kept) -> None:
    given = [*request.args.getlist("include"), *request.args.getlist("include[]")]
    for name in given:
        if name not in get_args(Includable):
            known = ", ".join(get_args(Includable))
            raise refused("include", f"include has {shown(name)}; it takes {known}.")
    texts = [p for item in found.resource["output"] for p in item.get("content", [])]
    if LOGPROBS in given and any(p.get("text") and not p.get("logprobs") for p in texts):
        raise refused(
            "include", f"Response {found.id} was made without logprobs. Include them in the POST."
        )


def _number(given: str) -> int:
    if not given.isascii() or not given.isdigit() or len(given) > 9:
        raise refused("starting_after", f"starting_after is {shown(given)}; it is a number.")
    return int(given)
