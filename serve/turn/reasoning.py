"""The reasoning of an answer that stopped at the delimiter, made when somebody asks for it."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, fields
from typing import Any

from feedback import record
from feedback.database import Database
from feedback.errors import Conflict
from feedback.owned import own_completion
from feedback.tables import Completion, Reasoning, Turn, User
from prompts.answer_first import DELIMITER
from serve.engines.base import Engine, Sampling
from serve.metrics import metered
from serve.turn.draft import Draft
from serve.turn.serving import Serving


@dataclass
class Continuation:
    """What is needed to go on behind the delimiter; `known` when the reasoning was made before."""

    completion: Completion
    turn: Turn
    known: Reasoning | None


def find_continuation(database: Database, user: User, completion_id: str) -> Continuation:
    """The completion whose reasoning is asked for. Raises NotFound, or Conflict without one."""
    with database.reading() as session:
        completion, turn = own_completion(session, user, completion_id)
        known = session.get(Reasoning, completion.id)
    if known is None and completion.stopped_by != DELIMITER:
        raise Conflict(
            f"The answer {completion_id} did not stop at {DELIMITER}, so it has no reasoning to go "
            "on with. Ask with redraft.reasoning: on_demand."
        )
    return Continuation(completion, turn, known)


def reason(
    engine: Engine, serving: Serving, database: Database, found: Continuation, max_tokens: int
) -> Iterator[tuple[str, str | None]]:
    """Stream the reasoning as (text, finish reason of the last) and record it; a text may be empty.

    One that was made before is read from the record.

    It continues the completion's own tokens under the adapter that wrote them, also when another
    serves by now. What a closed stream has shown is not recorded: asking again begins anew.
    """
    if found.known is not None:
        yield found.known.text, found.known.finish_reason
        return
    completion = found.completion
    token_ids = completion.token_ids
    if token_ids is None:  # of an engine that does not know them
        token_ids = engine.encode(completion.text + DELIMITER)
    prompt_ids = [*engine.encode_chat(found.turn.messages), *token_ids]
    text = engine.decode(token_ids).partition(DELIMITER)[2]  # what shared the delimiter's token
    made = Draft(completion.id)
    with serving.lease_again(completion.adapter) as adapter:
        if text:
            yield text, None
        sampling = _sampling(completion.sampling, max_tokens)
        written = engine.generate(prompt_ids, sampling, adapter)
        with closing(metered(written, len(prompt_ids), adapter, time.monotonic())) as chunks:
            for chunk in chunks:
                made.add(chunk)
                yield chunk.text, None
    finish_reason = made.finish_reason or "stop"
    with database.session() as session:
        record.record_reasoning(
            session,
            completion_id=completion.id,
            text=text + made.text,
            token_ids=made.known_ids,
            logprobs=made.known_logprobs,
            finish_reason=finish_reason,
        )
    yield "", finish_reason


def _sampling(recorded: dict[str, Any], max_tokens: int) -> Sampling:
    known = {field.name for field in fields(Sampling)}
    values = {name: value for name, value in recorded.items() if name in known}
    return Sampling(
        **{**values, "n": 1, "max_tokens": max_tokens, "stop": tuple(values.get("stop", ()))}
    )
