"""Nothing is learned from a row that cannot say which weights and which prompt wrote the answer."""

from retrain.curate._outcome import Outcome, sift
from retrain.rows import Row, judged
from serve.engines import says
from serve.settings import Settings


def apply(rows: list[Row], settings: Settings) -> Outcome:
    return sift(rows, _lacks)


def _lacks(row: Row) -> str | None:
    if row["kind"] == "rewrite":
        return "about a question, not an answer"
    if _around_tools(row):
        return "around tools, which no dataset here knows"
    answers = judged(row)
    if not answers:
        return "no answer recorded"
    if not all(answer["adapter"] for answer in answers):
        return "no adapter recorded"
    if scripted := next((a["engine"] for a in answers if says(a.get("engine"), "SCRIPTED")), None):
        return f"written by engine {scripted}, not by weights"
    if not all(answer["prompt_hash"] for answer in answers):
        return "no prompt version recorded"
    return None


def _around_tools(row: Row) -> bool:
    """Whether the prompt offered tools or told of their calls: its tokens are not the messages'."""
    told = any(m["role"] == "tool" or m.get("tool_calls") for m in row["messages"])
    return told or "tools" in (row.get("preparation") or {})
