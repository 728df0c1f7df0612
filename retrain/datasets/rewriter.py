"""History, query, rewrite: how a follow-up should have been understood.

| verdict on the rewrite | rewrite |
| --- | --- |
| the user's own wording | that text |
| thumb up | the rewritten query, as the turn recorded it |

No trainer of a run eats these: `redraft retrain rewriter` reads them from a file that `redraft
export` wrote. A question that opens its conversation has nothing to resolve and is no example. The
id opens with a source, and all turns of a conversation share it up to the turn's number, as
`retrain.rewriter_rows` reads ids.
"""

from prompts.answer_first import DELIMITER
from retrain.datasets import Example
from retrain.rows import Row

MADE_OF = "wordings of how a follow-up was meant, and thumbs up for how it was understood"
SOURCE = "feedback"


def build(rows: list[Row]) -> list[Example]:
    examples = [_example(row) for row in rows if row["kind"] == "rewrite"]
    return [example for example in examples if example is not None]


def _example(row: Row) -> Example | None:
    own = row["payload"]["text"]
    rewrite, history = own or row["rewritten_query"], _history(row)
    # Serving cuts a rewrite at the delimiter, so one that holds it cannot be taught.
    if not rewrite or not history or DELIMITER in rewrite:
        return None
    return {
        "id": f"{SOURCE}-{row['conversation_id'].replace('_', '-')}_{row['position']}",
        "history": history,
        "query": row["query"],
        "rewrite": rewrite,
        "signal": "correction" if rewrite != row["rewritten_query"] else "thumb",
        "feedback_id": row["feedback_id"],
    }


def _history(row: Row) -> list[dict[str, str]]:
    """What was said before the question, as the rewriter is shown it."""
    recorded = (row["preparation"] or {}).get("rewrite", {}).get("history")
    return [
        {"role": message["role"], "content": message["content"]}
        for message in recorded or row["messages"][:-1]
        if message["role"] in ("user", "assistant") and message["content"].strip()
    ]
