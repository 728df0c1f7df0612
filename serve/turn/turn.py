"""One turn: rewrite, fit the window, record the question, generate, record the drafts."""

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from typing import Any

from feedback import record
from feedback.database import Database
from feedback.ids import new_id
from prompts import Prompt, load_prompt
from prompts.answer_first import DELIMITER
from serve.engines.base import BASE, Engine, Message
from serve.engines.text import StopText
from serve.metrics import metered
from serve.settings import Settings
from serve.turn.conversation import find_conversation, open_conversation
from serve.turn.draft import Draft, Piece, Question, Turn
from serve.turn.history import History
from serve.turn.rewriting.rewriter import Rewrite, Rewriter, usable
from serve.turn.rewriting.topic import may_be_new
from serve.turn.serving import Serving
from serve.turn.tools import CallReader
from serve.turn.window import SYSTEM

log = logging.getLogger("redraft")


class Chat:
    """Runs turns against one engine and one record."""

    def __init__(
        self,
        engine: Engine,
        serving: Serving,
        database: Database,
        settings: Settings,
        rewriter: Rewriter,
    ) -> None:
        self.engine, self.serving, self._database = engine, serving, database
        self._settings, self.rewriter = settings, rewriter
        self._history = History(engine, database, settings)
        self._plain = load_prompt("chat/system")
        self._answer_first = load_prompt("chat/answer_first")

    def begin(self, question: Question) -> Turn:
        """Record the user's message and return the turn, not yet generated.

        Raises WindowError when it cannot fit, NotFound for another user's conversation.
        """
        prompt = self._plain if question.reasoning == "off" else self._answer_first
        rewrite = self._rewritten(question)
        messages = self._with_system(prompt, self._asked(question.messages, rewrite))
        window, seen = self._history.fit(question, messages, rewrite)
        turn = Turn(
            id=new_id("turn"),
            conversation_id="",
            question=question,
            rewritten_query=rewrite.rewritten_query,
            prompt=prompt,
            drafts=[_draft(question) for _ in range(question.sampling.n)],
            prompt_ids=window.prompt_ids,
        )
        preparation = {
            "rewrite": {
                "changed": rewrite.changed,
                "reason": rewrite.reason,
                "fallback": rewrite.fallback,
                "seconds": rewrite.seconds,
                "adapter": self.rewriter.adapter_name,
                "history": _unsent(question.messages, window.messages),
            },
            **seen,
        }
        if question.tools:
            preparation["tools"] = [dict(tool) for tool in question.offered]
        self._record_question(turn, window.messages, preparation)
        return turn

    def run(self, turn: Turn) -> Generator[Piece]:
        """Generate and record. Yields first an empty piece, when the adapter is known.

        Every draft is recorded when this returns, and also when it is closed or breaks: what was
        written until then is kept as "cancelled" or "interrupted".
        """
        question = turn.question
        stop = (*question.sampling.stop, DELIMITER) if question.stops_at_delimiter else None
        sampling = replace(question.sampling, stop=stop) if stop else question.sampling
        with self.serving.lease(question.adapter, turn.conversation) as adapter:
            turn.adapter = adapter or BASE
            try:
                yield Piece(0)
                written = self.engine.generate(turn.prompt_ids, sampling, adapter)
                tokens = len(turn.prompt_ids)
                with closing(metered(written, tokens, adapter, question.asked)) as chunks:
                    for chunk in chunks:
                        yield turn.drafts[chunk.draft].add(chunk)
            except GeneratorExit:
                self._record_drafts(turn, "cancelled")
                raise
            except Exception:
                self._record_drafts(turn, "interrupted")
                raise
            self._record_drafts(turn, "interrupted")

    def _rewritten(self, question: Question) -> Rewrite:
        """The question as it stands alone; as it is where rewriting is off."""
        mode, query = self._settings.rewrite, question.query
        if question.messages[-1]["role"] != "user":
            return Rewrite(query, query, False, "a tool's result, no question")
        if mode == "off" or (mode == "auto" and self.rewriter.adapter_name is None):
            return Rewrite(query, query, False, "rewriting is off")
        with self._database.reading() as session:
            find_conversation(session, question.user, question.conversation_id)
        history = question.messages[:-1]
        # The reasoning names a change of topic; it is written only where that may be one.
        reason = self._settings.topic_change == "drop" and may_be_new(history, query)
        return self.rewriter.rewrite(history, query, reason)

    def _asked(self, messages: Sequence[Message], rewrite: Rewrite) -> list[Message]:
        if not rewrite.changed:
            return list(messages)
        asked: Message = {"role": "user", "content": rewrite.rewritten_query}
        if self._settings.rewrite_context == "history":
            return [*messages[:-1], asked]
        return [*(m for m in messages if m["role"] in SYSTEM), asked]

    def _with_system(self, prompt: Prompt, messages: Sequence[Message]) -> list[Message]:
        text = prompt.render(system_prompt=self._settings.system_prompt)
        if not text or any(m["role"] in SYSTEM for m in messages):
            return list(messages)
        return [{"role": "system", "content": text}, *messages]

    def _record_question(
        self, turn: Turn, messages: Sequence[Message], preparation: Mapping[str, Any]
    ) -> None:
        question = turn.question
        with self._database.session() as session:
            turn.conversation = open_conversation(
                session,
                question.user,
                question.conversation_id,
                question.messages,
                self._settings.holdout_share,
            )
            turn.conversation_id = turn.conversation.id
            record.record_turn(
                session,
                turn_id=turn.id,
                conversation_id=turn.conversation_id,
                query=question.query,
                rewritten_query=turn.rewritten_query,
                messages=[dict(m) for m in messages],
                prompt_name=turn.prompt.name,
                prompt_hash=turn.prompt.hash,
                preparation=preparation,
                parent_id=question.parent_id,
            )

    def _record_drafts(self, turn: Turn, unfinished: str) -> None:
        with self._database.session() as session:
            for index, draft in enumerate(turn.drafts):
                draft.finish_reason = draft.finish_reason or unfinished
                record.record_completion(session, **self._row(turn, index, draft))
                if draft.reasoning:
                    record.record_reasoning(
                        session,
                        completion_id=draft.completion_id,
                        text=draft.reasoning,
                        token_ids=None,  # among the completion's own
                        logprobs=None,
                        finish_reason=draft.finish_reason,
                    )

    def _row(self, turn: Turn, index: int, draft: Draft) -> dict[str, Any]:
        return {
            "completion_id": draft.completion_id,
            "turn_id": turn.id,
            "draft": index,
            "text": draft.written,
            "token_ids": draft.known_ids,
            "logprobs": draft.known_logprobs,
            "adapter": turn.adapter,
            "base_model": self.engine.model,
            "engine": self.engine.name,
            "sampling": asdict(turn.question.sampling),
            "prompt_hash": turn.prompt.hash,
            "prompt_tokens": len(turn.prompt_ids),
            "finish_reason": draft.finish_reason,
            "stopped_by": draft.stopped_by,
        }


def _unsent(given: Sequence[Message], sent: Sequence[Message]) -> list[Message] | None:
    """What the rewriter had to go by, where the engine is sent less; None where it is sent all.

    A verdict on the rewrite cannot be learned from without it.
    """
    seen = usable(given[:-1])
    return None if seen == usable(sent[:-1]) else seen


def _draft(question: Question) -> Draft:
    split = StopText([DELIMITER]) if question.reasoning == "always" else None
    reader = CallReader(question.tools) if question.tools else None
    return Draft(new_id("cmpl"), split, reader)
