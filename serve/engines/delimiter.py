"""Whether a delimiter is a token of its own in an engine's vocabulary."""

from dataclasses import dataclass

from serve.engines.base import Engine


@dataclass(frozen=True)
class Delimiter:
    """`token_id` is the delimiter's own token, None where it is spread over several."""

    text: str
    token_id: int | None
    ends_at_boundary: bool

    def describe(self, model: str) -> str:
        if self.token_id is not None:
            return f"{self.text!r} is token {self.token_id} of {model}: answers stop on it at once"
        if self.ends_at_boundary:
            return f"{self.text!r} ends at a token boundary in {model}: answers stop on the text"
        return (
            f"{self.text!r} shares a token with what follows it in {model}: answers stop on the "
            "text, one token late; the beginning of the reasoning is kept for its continuation"
        )


def find_delimiter(engine: Engine, text: str) -> Delimiter:
    """How `text` lies in the engine's tokens, tried after a word and before one."""
    alone = engine.encode(text)
    before, whole = engine.encode(f"so {text}"), engine.encode(f"so {text} as")
    boundary = whole[: len(before)] == before
    return Delimiter(text, alone[0] if len(alone) == 1 else None, boundary)
