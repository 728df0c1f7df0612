"""Token counts as OpenAI's completions endpoints tell them."""

from typing import Any


def told_usage(prompt: int, completion: int, cached: int) -> dict[str, Any]:
    """`cached` tokens of the prompt were in the engine's cache; 0 also where it does not know."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
