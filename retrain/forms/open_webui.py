"""Open WebUI's export of feedback: a thumb, and a snapshot of the chat that it was given in.

Its users become users here, so that people are told apart; a thumb in its arena, where models stood
side by side unseen, is a pick. Its reasons become ours where there is one of that meaning, and go
into the comment else.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from feedback.fields import show
from retrain.forms._told import IMPORTED, Answer, Broken, Told, need, text

MOST_TAGS = 20
REASONS = {
    "accurate_information": "correct",
    "followed_instructions_perfectly": "helpful",
    "helpful": "helpful",
    "showcased_creativity": "well_written",
    "not_factually_correct": "wrong_fact",
    "inaccurate_information": "wrong_fact",
    "didnt_fully_follow_instructions": "not_what_i_asked",
    "not_helpful": "not_what_i_asked",
    "too_verbose": "too_long",
}


def read(row: dict[str, Any]) -> list[Told]:
    id, user, data, meta, snapshot = need(row, "id", "user_id", "data", "meta", "snapshot")
    if str((data or {}).get("rating")) not in ("1", "-1"):
        raise Broken(f"data.rating is {show((data or {}).get('rating'))}; it must be 1 or -1")
    chat = ((snapshot or {}).get("chat")) or {}
    tree = _messages(chat)
    rated = _rated(tree, str((meta or {}).get("message_id")))
    before = _before(tree, rated)
    siblings = [rated, *_siblings(tree, rated)]
    up = str(data["rating"]) == "1"
    is_pick = up and bool((meta or {}).get("arena")) and len(siblings) > 1
    said = (
        {"kind": "comparison", "shown": [*range(len(siblings))], "chosen": 0}
        if is_pick
        else {"kind": "rating", "completion_id": 0, **_rating(data, up)}
    )
    created = row.get("created_at")
    return [
        Told(
            f"open-webui {id}",
            before,
            [_answer(message) for message in (siblings if is_pick else siblings[:1])],
            said,
            conversation=f"open-webui {(meta or {}).get('chat_id')}",
            turn=f"open-webui {rated.get('parentId')} {'arena' if is_pick else rated['id']}",
            title=str(chat.get("title") or ""),
            user=f"open-webui-{hashlib.sha256(str(user).encode()).hexdigest()[:12]}",
            created_at=datetime.fromtimestamp(created, UTC) if isinstance(created, int) else None,
            numbered=False,
        )
    ]


def _messages(chat: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The messages by id; the chat may stand in an envelope of its own."""
    inner = chat.get("chat") if isinstance(chat.get("chat"), dict) else chat
    found = ((inner or {}).get("history") or {}).get("messages")
    if isinstance(found, dict):
        found = list(found.values())
    if not isinstance(found, list) or not found:
        raise Broken("snapshot has no messages: export feedback with its chats")
    return {str(m["id"]): m for m in found if isinstance(m, dict) and "id" in m}


def _rated(tree: Mapping[str, dict[str, Any]], id: str) -> dict[str, Any]:
    if id not in tree or tree[id].get("role") != "assistant":
        raise Broken(f"snapshot has no answer {show(id)}, which meta.message_id names")
    return tree[id]


def _before(tree: Mapping[str, dict[str, Any]], rated: Mapping[str, Any]) -> list[dict[str, str]]:
    """What was said before the answer, along the branch that it is on."""
    said: list[dict[str, str]] = []
    seen, at = set[str](), rated.get("parentId")
    while at is not None:
        if at in seen or at not in tree:
            raise Broken(f"the chain of messages breaks at {show(at)}")
        seen.add(at)
        message = tree[at]
        content = text("content", message.get("content"), empty=True)
        said.append({"role": str(message.get("role")), "content": content})
        at = message.get("parentId")
    if not said or said[0]["role"] != "user":
        raise Broken("nobody asked what was answered")
    return said[::-1]


def _siblings(tree: Mapping[str, dict[str, Any]], rated: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        message
        for message in tree.values()
        if message.get("parentId") == rated.get("parentId")
        and message["id"] != rated["id"]
        and message.get("role") == "assistant"
        and str(message.get("content") or "").strip()
        and message.get("content") != rated.get("content")
    ]


def _answer(message: Mapping[str, Any]) -> Answer:
    finish = "stop" if message.get("done", True) else "interrupted"
    model = str(message.get("model") or IMPORTED)
    said = text("content", message.get("content"), empty=True)
    return Answer(said, key=str(message["id"]), base_model=model, finish_reason=finish)


def _rating(data: Mapping[str, Any], up: bool) -> dict[str, Any]:
    reason = str(data.get("reason") or "")
    known = REASONS.get(reason)
    comment = str(data.get("comment") or "")
    if reason and known is None:
        comment = f"{reason}: {comment}" if comment else reason
    tags = [known] if known else []
    tags += [str(tag)[:64] for tag in data.get("tags") or [] if str(tag).strip()]
    return {
        "value": 1 if up else -1,
        "tags": tags[:MOST_TAGS],
        "comment": text("comment", comment, empty=True)[:20_000],
    }
