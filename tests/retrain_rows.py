"""Rows of a snapshot, and the same things put into a real record, for the tests of `retrain`."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from feedback import record, users
from feedback.database import Database
from feedback.ids import new_id
from feedback.moments import iso

Row = dict[str, Any]
_number = itertools.count(1)
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def draft(text: str, **own: Any) -> Row:
    """A stored answer, every character a token."""
    return {
        "id": f"cmpl_{next(_number)}",
        "draft": 0,
        "text": text,
        "token_ids": [ord(c) for c in text],
        "logprobs": [-1.0] * len(text),
        "adapter": "base",
        "base_model": "m",
        "sampling": {"temperature": 0.7},
        "prompt_hash": "h1",
        "finish_reason": "stop",
        "stopped_by": None,
        "reasoning": None,
        **own,
    }


def _row(kind: str, payload: Row, drafts: list[Row], about: str | None, **own: Any) -> Row:
    seq = next(_number)
    return {
        "feedback_id": f"fb_{seq}",
        "seq": seq,
        "kind": kind,
        "payload": payload,
        "user_id": "usr_1",
        "split": "train",
        "conversation_id": f"conv_{seq}",
        "turn_id": f"turn_{seq}",
        "messages": [{"role": "user", "content": own.pop("prompt", f"question {seq}")}],
        "completion_id": about,
        "completions": drafts,
        "created_at": iso(_BEGIN + timedelta(hours=seq)),
        "role": "user",
        "review": None,
        **own,
    }


def correction(text: str, original: str | Row = "Something else entirely.", **own: Any) -> Row:
    answer = original if isinstance(original, dict) else draft(original)
    return _row("correction", {"text": text}, [answer], answer["id"], **own)


def of_corpus(text: str, **own: Any) -> Row:
    """An answer of a corpus, which nobody gave a verdict on."""
    return _row("corpus", {"text": text}, [], None, user_id="", **own)


def rating(value: int, answer: str | Row = "An answer.", **own: Any) -> Row:
    rated = answer if isinstance(answer, dict) else draft(answer)
    payload = {"value": value, "tags": [], "comment": ""}
    return _row("rating", payload, [rated], rated["id"], **own)


def comparison(chosen: int | str, *texts: str | Row, **own: Any) -> Row:
    """`chosen` is the place of the winner, "tie" or "both_bad"."""
    drafts = [t if isinstance(t, dict) else draft(t) for t in texts]
    shown = [d["id"] for d in drafts]
    picked = shown[chosen] if isinstance(chosen, int) else chosen
    return _row("comparison", {"shown": shown, "chosen": picked}, drafts, None, **own)


def rewrite(value: int, text: str | None = None, **own: Any) -> Row:
    """A verdict on how "How old is he?" was understood, the third turn of a conversation."""
    said = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who was Ibn Sina?"},
        {"role": "assistant", "content": "A physician."},
        {"role": "user", "content": "How old is Ibn Sina?"},
    ]
    asked = {"query": "How old is he?", "rewritten_query": "How old is Ibn Sina?"}
    recorded = {"messages": said, "position": 2, "preparation": None, **asked}
    return {**_row("rewrite", {"value": value, "text": text}, [], None), **recorded, **own}


def record_corrections(
    database: Database,
    model: str,
    count: int,
    heldout: int = 0,
    user: str = "ada",
    role: str = "reviewer",
    text: str = "Code {}-blue.",
) -> None:
    """`count` training corrections and `heldout` held-out ones, each in a new conversation.

    A reviewer's word is enough alone.
    """
    with database.session() as session:
        known = {found.name: found for found in users.list_users(session)}
        owner = known.get(user) or users.add_user(session, user, role)
    for number in range(count + heldout):
        share = 0.0 if number < count else 1.0
        with database.session() as session:
            talk = record.start_conversation(session, owner.id, "t", share)
            question = f"What is the code of door {number}?"
            turn = record.record_turn(
                session,
                turn_id=new_id("turn"),
                conversation_id=talk.id,
                query=question,
                rewritten_query=None,
                messages=[{"role": "user", "content": question}],
                prompt_name="chat/system",
                prompt_hash="h1",
            )
            answer = record.record_completion(
                session,
                completion_id=new_id("cmpl"),
                turn_id=turn.id,
                draft=0,
                text="I do not know.",
                token_ids=None,
                logprobs=None,
                adapter="base",
                base_model=model,
                engine="transformers",
                sampling={"temperature": 0.7},
                prompt_hash="h1",
                prompt_tokens=9,
                finish_reason="stop",
            )
            session.flush()
            body = {"kind": "correction", "completion_id": answer.id}
            record.record_feedback(session, owner, {**body, "text": text.format(number)})
