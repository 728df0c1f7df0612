"""Label Studio tasks, one a verdict, and what annotators said of them as reviews.

`data` has what an annotator reads (docs/label-studio.xml shows it), and under `redraft` all that is
needed to make the row again in another record. Annotations are Choices named `verdict` (keep, fix,
drop) and a TextArea named `fix`.
"""

from datetime import datetime
from typing import Any

from feedback.fields import show
from feedback.kinds import review
from retrain.forms._told import (
    IMPORTED,
    Answer,
    Broken,
    Told,
    messages,
    need,
    prompt,
    text,
)
from retrain.parts import on_reasoning
from retrain.rows import Row, ended_by, judged, picked

OF = None
MADE_OF = "all feedback, one task each, for reviewers to keep, fix or drop"
CARRIED = ("text", "adapter", "base_model")
TOLD = ("feedback_id", "conversation_id", "turn_id", "position", "split", "created_at")


def write(row: Row) -> dict[str, Any] | None:
    if on_reasoning(row):
        return None
    drafts = row["completions"]
    said = [{"role": m["role"], "content": m["content"]} for m in row["messages"]]
    return {
        "data": {
            "conversation": said,
            "answer": "\n\n———\n\n".join(_shown(row)),
            "said": _in_words(row),
            "redraft": {
                **{key: row.get(key) for key in TOLD},
                "body": _body(row),
                "query": row.get("query") or "",
                "rewritten_query": row.get("rewritten_query"),
                "preparation": row.get("preparation"),
                "completions": [_carried(c) for c in drafts],
            },
        }
    }


def read(row: dict[str, Any]) -> list[Told]:
    (data,) = need(row, "data")
    if not isinstance(data, dict) or not isinstance(data.get("redraft"), dict):
        raise Broken("data has no redraft: only tasks that `redraft export label-studio` wrote")
    made, said = data["redraft"], need(data, "conversation")[0]
    body, drafts, id = need(made, "body", "completions", "feedback_id")
    if not isinstance(body, dict) or not isinstance(drafts, list):
        raise Broken("data.redraft was changed")
    # A verdict on a question may be of a turn that was recorded without its end.
    asked = messages("conversation", said) if body.get("kind") == "rewrite" else prompt(said)
    return [
        Told(
            text("feedback_id", id),
            asked,
            [_answer(draft, at) for at, draft in enumerate(drafts)],
            body,
            conversation=str(made.get("conversation_id") or ""),
            turn=str(made.get("turn_id") or ""),
            query=str(made.get("query") or ""),
            rewritten_query=made.get("rewritten_query"),
            preparation=made.get("preparation"),
            position=made.get("position"),
            split=made.get("split"),
            created_at=datetime.fromisoformat(made["created_at"]) if "created_at" in made else None,
            feedback_id=id,
            numbered=False,
            reviews=list(_reviews(row)),
        )
    ]


def _answer(draft: Any, at: int) -> Answer:
    if not isinstance(draft, dict):
        raise Broken("data.redraft was changed")
    return Answer(
        text("completions", draft.get("text"), empty=True),
        key=str(at),
        adapter=draft.get("adapter") or IMPORTED,
        base_model=draft.get("base_model") or IMPORTED,
        finish_reason=draft.get("finish_reason") or "stop",
    )


def _carried(c: Row) -> dict[str, Any]:
    return {**{key: c.get(key) for key in CARRIED}, "finish_reason": ended_by(c, c)}


def _body(row: Row) -> dict[str, Any]:
    """The feedback with places for ids; a rating that a reviewer fixed is a correction by now."""
    places = {c["id"]: at for at, c in enumerate(row["completions"])}
    body = {"kind": row["kind"], **row["payload"]}
    if row["kind"] == "comparison":
        body["shown"] = [places[id] for id in body["shown"]]
        body["chosen"] = places.get(body["chosen"], body["chosen"])
    elif row["kind"] != "rewrite":
        body["completion_id"] = places[row["completion_id"]]
    return body


def _shown(row: Row) -> list[str]:
    if row["kind"] == "rewrite":
        return [row.get("rewritten_query") or row.get("query") or ""]
    return [c["text"] for c in judged(row)]


def _in_words(row: Row) -> str:
    payload = row["payload"]
    if row["kind"] == "comparison":
        pick = picked(row)
        return f"Picked: {pick[0]['text']}" if pick else str(payload["chosen"])
    if payload.get("text"):
        return f"{row['kind'].capitalize()}: {payload['text']}"
    told = [*payload.get("tags", []), payload.get("comment") or ""]
    return f"{'👍' if payload['value'] > 0 else '👎'} {' · '.join(filter(None, told))}".strip()


def _reviews(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The reviews, the newest annotation last."""
    given = [one for one in row.get("annotations") or [] if not one.get("was_cancelled")]
    given.sort(key=lambda one: str(one.get("updated_at") or one.get("created_at") or ""))
    return [_review(one) for one in given]


def _review(annotation: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for result in annotation.get("result") or []:
        value = result.get("value") or {}
        found[str(result.get("from_name"))] = value.get("choices") or value.get("text") or []
    verdict, fix = (next(iter(found.get(name, ())), None) for name in ("verdict", "fix"))
    if verdict not in review.VERDICTS:
        raise Broken(f"an annotation's verdict is {show(verdict)}; it is keep, fix or drop")
    if verdict != review.FIX:
        return {"kind": "review", "verdict": verdict}
    return {"kind": "review", "verdict": verdict, "text": text("fix", fix)}
