"""LoRA (arXiv 2106.09685): a low-rank change beside every linear layer. The default."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

KIND = "LORA"
SETTINGS: dict[str, Any] = {}


def load(folder: Path, dtype: torch.dtype, device: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device)


def begin(base: Any, folder: Path, settings: Mapping[str, Any]) -> PeftModel:
    config = LoraConfig(
        r=settings["rank"],
        lora_alpha=settings["alpha"],
        lora_dropout=settings["dropout"],
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(base, config)


def go_on(base: Any, folder: Path, settings: Mapping[str, Any], start: Path) -> PeftModel:
    return PeftModel.from_pretrained(base, start, is_trainable=True)
