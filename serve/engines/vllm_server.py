"""What a vLLM server says of itself, and whether it fits us, found out when it is opened."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from serve.engines.base import EngineError, Sampling
from serve.engines.remote import Remote
from serve.engines.vllm_wire import generation

PROBE = "Grüße, 世界! 2 + 2 = 4\n\tok"
COLD, HOT = 0.1, 2.0  # temperatures that make a distribution steep and flat
NOISE = 0.05  # of a log-probability, between two runs in bf16


def cards(remote: Remote) -> list[dict[str, Any]]:
    """Its base models and adapters: `id`, `root` and, of an adapter, `parent`."""
    found: list[dict[str, Any]] = remote.get("/models")["data"]
    return found


def find_card(remote: Remote, model: str) -> dict[str, Any]:
    """What it says of our base model. Raises EngineError when it serves another."""
    bases = [card for card in cards(remote) if not card.get("parent")]
    for card in bases:
        names = (str(card["id"]), str(card.get("root") or ""))
        if model not in names and _last(model) not in map(_last, names):
            continue
        if "max_model_len" in card:
            return card
        raise EngineError(
            f"The server at {remote.url} is not vLLM: it does not tell its window. "
            "REDRAFT_ENGINE=openai takes any server with OpenAI's API, without adapters."
        )
    raise EngineError(
        f"vLLM at {remote.url} serves {', '.join(card['id'] for card in bases)}; REDRAFT_MODEL is "
        f"{model}. Set REDRAFT_MODEL to what it serves, or start it with --model and "
        f"--served-model-name {model}."
    )


def check_tokens(remote: Remote, served: str, encode: Callable[[str], list[int]]) -> None:
    """Raises EngineError when its tokens are not ours: answers would be noise."""
    body = {"model": served, "prompt": PROBE, "add_special_tokens": False}
    if remote.post("/tokenize", body, above=True)["tokens"] != encode(PROBE):
        raise EngineError(
            f"vLLM at {remote.url} has another tokenizer for {served} than there is here. Let "
            "both read the same folder."
        )


def reports_processed(remote: Remote, served: str, prompt_ids: list[int]) -> bool:
    """Whether its log-probabilities are taken after the temperature: two answers tell."""

    def likeliest(temperature: float) -> float:
        sampling = Sampling(max_tokens=1, temperature=temperature, top_logprobs=1)
        body = generation(prompt_ids, sampling, 1) | {"stream": False, "model": served}
        place = remote.post("/completions", body)["choices"][0]["logprobs"]["top_logprobs"][0]
        return float(max(place.values()))

    return likeliest(COLD) - likeliest(HOT) > NOISE


def _last(path: str) -> str:
    return Path(path).name.lower()
