"""What of its history an answer sees: all that fits, notes of the rest, or nothing of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from feedback import reads
from feedback.database import Database
from serve.engines.base import Engine, Message
from serve.settings import Settings
from serve.turn.conversation import known_conversation
from serve.turn.draft import Question
from serve.turn.rewriting.chinese import is_chinese
from serve.turn.rewriting.rewriter import Rewrite
from serve.turn.rewriting.topic import new_topic
from serve.turn.summary import Summariser, Summary, why_not
from serve.turn.window import SYSTEM, Window, fit_window, leave_room, noted, with_note

EARLIER = 50  # newest turns of a conversation whose summaries may be continued
LISTENED = 3  # newest messages of the user that tell the language
SHORTEST = 24  # characters of a summary worth its place


class History:
    """Fits a conversation into the engine's window, as the settings say."""

    def __init__(self, engine: Engine, database: Database, settings: Settings) -> None:
        self.engine, self._database, self._settings = engine, database, settings
        self.summariser = Summariser(engine, settings.summary_seconds)

    def fit(
        self, question: Question, messages: Sequence[Message], rewrite: Rewrite
    ) -> tuple[Window, dict[str, Any]]:
        """The window of `messages`, and what the record keeps of how it came about.

        Raises WindowError, and NotFound for another user's conversation.
        """
        topic = self._new_topic(question, rewrite)
        window = fit_window(
            self.engine,
            messages,
            question.sampling.max_tokens,
            self._settings.history_turns,
            question.truncate,
            topic,
            question.offered,
        )
        if not window.left_out or topic or self._settings.history_summary == "off":
            return window, {"window": _described(window)}
        window, summary = self._summarised(question, window)
        return window, {"window": _described(window), "summary": summary.as_json()}

    def _new_topic(self, question: Question, rewrite: Rewrite) -> str | None:
        # A client that forbids truncation wants all that it sent to be seen.
        if self._settings.topic_change == "keep" or not question.truncate:
            return None
        return new_topic(question.messages[:-1], question.query, rewrite)

    def _summarised(self, question: Question, window: Window) -> tuple[Window, Summary]:
        """The window with a summary of what it left out; as it is where there can be none."""
        chinese = _writes_chinese(question.messages)
        tokens = min(self._settings.summary_tokens, window.budget // 4)
        try:
            room = tokens + self._frame(window, chinese)
        except Exception as error:  # chat templates without a system role
            return window, Summary(fallback=why_not(error))
        roomy = leave_room(self.engine, window, room, question.truncate)
        if roomy is None:
            return window, Summary(fallback="there is no room for a summary")
        made = self.summariser.summarise(roomy.left_out, self._earlier(question), chinese, tokens)
        if made.fallback is not None:
            return window, made
        placed = self._placed(roomy, made, chinese)
        return placed or (window, replace(made, text="", fallback="the summary does not fit"))

    def _frame(self, window: Window, chinese: bool) -> int:
        """Tokens that the words around a summary take, in the model's template."""
        alone = [m for m in window.messages if m["role"] in SYSTEM] + window.messages[-1:]
        told = noted(alone, self.summariser.note("", chinese))
        return max(0, len(self.engine.encode_chat(told)) - len(self.engine.encode_chat(alone)))

    def _placed(
        self, window: Window, made: Summary, chinese: bool
    ) -> tuple[Window, Summary] | None:
        """The summary in the window, cut where its text has more tokens than were written."""
        text = made.text
        while True:
            told = with_note(self.engine, window, self.summariser.note(text, chinese))
            if told is not None:
                return told, replace(made, text=text)
            if len(text) < SHORTEST:
                return None
            text = text[: len(text) * 3 // 4].rstrip("… ") + "…"

    def _earlier(self, question: Question) -> list[Summary]:
        """The summaries that were made in this conversation."""
        with self._database.reading() as session:
            conversation = known_conversation(
                session, question.user, question.conversation_id, question.messages
            )
            if conversation is None:
                return []
            prepared = reads.newest_preparations(session, conversation.id, EARLIER)
        return [Summary.of_json(one["summary"]) for one in prepared if one.get("summary")]


def _described(window: Window) -> dict[str, Any]:
    counts = {"turns": window.turns, "dropped": window.dropped}
    return counts | {"why": window.why} if window.left_out else counts


def _writes_chinese(messages: Sequence[Message]) -> bool:
    said = [m["content"] for m in messages if m["role"] == "user"]
    return is_chinese(" ".join(said[-LISTENED:]))
