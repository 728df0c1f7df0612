"""What the methods share that learn virtual tokens in front of every text.

They begin as the tokens that open every conversation of the model: a random beginning would bend
its answers before anything is learned, and the reference of DPO and KTO with them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.utils import load_peft_weights, set_peft_model_state_dict

from retrain.trainers import _lora

SETTINGS: dict[str, Any] = {"learning_rate": 1e-2, "virtual_tokens": 20}


def opening(folder: Path, count: int) -> list[int]:
    """The first `count` token ids of a conversation, repeated where it is shorter."""
    tokenizer = _lora.open_tokenizer(folder)
    ids = _lora.encode_prompt(tokenizer, [{"role": "user", "content": ""}])
    return (ids * (count // len(ids) + 1))[:count]


def put(model: PeftModel, rows: torch.Tensor) -> PeftModel:
    """The model with these as its virtual tokens, [count, what each holds]."""
    weight = model.prompt_encoder["default"].embedding.weight
    with torch.no_grad():
        weight.copy_(rows.reshape(weight.shape))
    return model


def taken_up(model: PeftModel, start: Path) -> PeftModel:
    """The model with the virtual tokens of an adapter's folder."""
    set_peft_model_state_dict(model, load_peft_weights(str(start), device="cpu"))
    return model


def check(settings: Mapping[str, Any]) -> None:
    """Raises ValueError for what virtual tokens do not go with."""
    if settings["activation_checkpointing"]:
        raise ValueError(
            "Virtual tokens are a cache, which activation_checkpointing does not go with. Leave "
            "that out of the recipe, or train by lora."
        )
