"""From a request of the Responses API to a turn: its items, its conversation, its question."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from feedback import fields
from feedback.ids import new_id
from feedback.tables import User
from serve.api.context import Context
from serve.api.models import wanted_adapter
from serve.api.responses.answer import Answer, Keep
from serve.api.responses.items import kept_items, messages_of
from serve.api.responses.request import ResponseRequest
from serve.api.responses.resource import new_resource
from serve.api.responses.state import State
from serve.api.responses.structure import refused
from serve.api.tools import demanded_schema, reasoning_mode
from serve.engines.base import Message
from serve.turn.draft import Question, Turn

Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A request with its place in the record: the items that are new, and those before them."""

    body: ResponseRequest
    response_id: str
    input: list[Json]
    earlier: list[Json]
    conversation_id: str | None
    parent_id: str | None  # the turn that it goes on from, where it names a response

    @property
    def messages(self) -> list[Message]:
        """The whole conversation; instructions are of this request alone."""
        said = messages_of([*self.earlier, *self.input])
        if self.body.instructions is None:
            return said
        return [{"role": "system", "content": self.body.instructions}, *said]


def read(body: ResponseRequest, state: State) -> Asked:
    """Place the request. Raises ApiError, and Invalid for words that no database stores."""
    body.check()
    for name, value in body.model_dump().items():
        fields.storable_json(name, value)
    response_id = new_id("resp")
    chain = state.chain(body.previous_response_id) if body.previous_response_id else []
    earlier = [item for one in chain for item in (*one.input, *one.resource["output"])]
    input = kept_items(response_id, body.input, state.find_item)
    conversation = chain[-1].conversation_id if chain else body.options.conversation_id
    parent = chain[-1].turn_id if chain else None
    asked = Asked(body, response_id, input, earlier, conversation, parent)
    _check(asked.messages)
    return asked


def begin(here: Context, user: User, asked: Asked) -> Turn:
    """The turn, recorded and not yet written."""
    body, tools = asked.body, asked.body.offered
    wanted = body.format.schema_of()
    schema = demanded_schema(here.chat.engine, tools, wanted, "text.format")
    question = Question(
        user=user,
        messages=asked.messages,
        sampling=replace(body.sampling(here.settings), schema=schema),
        conversation_id=asked.conversation_id,
        parent_id=asked.parent_id,
        adapter=wanted_adapter(body.model),
        reasoning=reasoning_mode(body.options.reasoning, here.settings.reasoning, schema, tools),
        truncate=body.truncation == "auto",
        tools=tools,
    )
    return here.chat.begin(question)


def answer_to(here: Context, asked: Asked, turn: Turn, keep: Keep) -> Answer:
    """The response to the turn, before its first word."""
    body, engine = asked.body, here.chat.engine
    status = "queued" if body.background else "in_progress"
    sampling = turn.question.sampling
    resource = new_resource(asked.response_id, body, sampling, engine.model, status)
    return Answer(engine, turn, resource, body.logprobs, keep)


def _check(messages: Sequence[Message]) -> None:
    called: set[str] = set()
    for message in messages:
        if message["role"] == "tool" and message["tool_call_id"] not in called:
            raise refused(
                "input",
                f"A function_call_output has call_id {message['tool_call_id']!r}; no function_call "
                "before it has. Send the call too, or the previous_response_id that made it.",
            )
        called |= {call["id"] for call in message.get("tool_calls", [])}
    last = messages[-1] if messages else {"role": "none"}  # reasoning alone says nothing
    if last["role"] != "tool" and (last["role"] != "user" or not last["content"].strip()):
        raise refused(
            "input",
            "The last item must be the user's and not empty, or a function_call_output: it is the "
            "one answered.",
        )
