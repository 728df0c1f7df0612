"""A model's own tokenizer and chat template, for the engines that take token ids."""

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError
from transformers import AutoTokenizer

from serve.engines.base import EngineError, Message, Tool, Unsupported
from serve.engines.builtin import NAME as BUILTIN
from serve.engines.tool_words import around_tools, in_words


class ChatTokenizer:
    """Text and conversations to token ids and back; safe to call from many threads."""

    def __init__(self, model: str, source: str) -> None:
        """Read from `source` what belongs to `model`. Raises EngineError."""
        self.model = model
        try:
            self.hf: Any = AutoTokenizer.from_pretrained(source)
        except (OSError, ValueError) as error:
            raise unreadable(model, error) from error
        if not self.hf.chat_template:
            raise EngineError(
                f"Model {model!r} has no chat template, so it cannot chat. Use an instruct model, "
                "or put a chat_template.jinja into its folder."
            )
        self.knows_tools = "tools" in str(self.hf.chat_template)

    def encode_chat(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> list[int]:
        """See Engine.encode_chat. A template that knows no tools is told of them in words."""
        if self.knows_tools or not (tools or any(map(around_tools, messages))):
            return self._encode_chat(messages, tools)
        try:
            return self._encode_chat(in_words(messages, tools))
        except TemplateError as error:
            raise Unsupported(
                f"The chat template of {self.model} knows no tools, nor can it be told of them "
                f"({first_line(error)}). Leave `tools` out, or start with a REDRAFT_MODEL that was "
                "trained to call them (Qwen2.5, Llama 3.1, …)."
            ) from error

    def _encode_chat(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> list[int]:
        ids = self.hf.apply_chat_template(
            list(messages),
            tools=list(tools) or None,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
        )
        return [int(i) for i in ids]

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text, without special tokens."""
        return [int(i) for i in self.hf.encode(text, add_special_tokens=False)]

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of token ids, without special tokens."""
        return str(
            self.hf.decode(
                list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def ends(self, *configs: Any) -> frozenset[int]:
        """Token ids that end an answer: the tokenizer's, and those that `configs` name."""
        ends: set[int | None] = {self.hf.eos_token_id}
        for config in configs:
            found = getattr(config, "eos_token_id", None)
            ends.update(found if isinstance(found, list) else [found])
        return frozenset(end for end in ends if end is not None)


def unreadable(model: str, error: Exception) -> EngineError:
    """What to say of a base model that cannot be loaded."""
    return EngineError(
        f"Model {model!r} cannot be loaded: {first_line(error)} Set REDRAFT_MODEL to "
        f"{BUILTIN}, a Hugging Face model's folder, or a hub id that this machine reaches."
    )


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
