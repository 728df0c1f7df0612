"""The response object: what was asked, and what has become of it."""

import time
from typing import Any

from serve.api.responses.request import ResponseRequest
from serve.engines.base import Sampling

Json = dict[str, Any]


def new_resource(
    response_id: str, body: ResponseRequest, sampling: Sampling, model: str, status: str
) -> Json:
    """OpenAI's response object of an answer that is not there yet: all keys, null where unknown."""
    return {
        "id": response_id,
        "object": "response",
        "created_at": int(time.time()),
        "completed_at": None,
        "status": status,
        "incomplete_details": None,
        "model": model,
        "previous_response_id": body.previous_response_id,
        "instructions": body.instructions,
        "output": [],
        "error": None,
        **_asked(body, sampling),
        "usage": None,
    }


def _asked(body: ResponseRequest, sampling: Sampling) -> Json:
    """The parameters as they take effect."""
    choice = body.tool_choice or "auto"
    return {
        "tools": [tool.model_dump() for tool in body.tools or []],
        "tool_choice": choice if isinstance(choice, str) else choice.model_dump(),
        "truncation": body.truncation or "disabled",
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "text": {"format": body.format.resource},
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "top_logprobs": sampling.top_logprobs,
        "temperature": sampling.temperature,
        "reasoning": {"effort": None, "summary": None},
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": body.max_tool_calls,
        "store": body.stored,
        "background": bool(body.background),
        "service_tier": "default",  # what was asked for has no effect, and this says so
        "metadata": body.metadata or {},
        "safety_identifier": body.safety_identifier,
        "prompt_cache_key": body.prompt_cache_key,
    }


def usage(prompt: int, completion: int, reasoning: int, cached: int) -> Json:
    """OpenAI's token counts; `cached` is 0 also where the engine does not know."""
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": prompt + completion,
    }
