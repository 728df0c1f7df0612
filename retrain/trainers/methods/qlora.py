"""QLoRA (arXiv 2305.14314): LoRA over a base in 4 bits, for models that fit the memory only so.

What comes out is a LoRA adapter like any other, and every engine that takes those serves it.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from retrain.trainers.methods.lora import KIND, SETTINGS, begin, go_on
from serve.engines.base import EngineError
from serve.engines.quantized import load_options

__all__ = ["KIND", "SETTINGS", "begin", "go_on", "load"]


def load(folder: Path, dtype: torch.dtype, device: str) -> Any:
    """The base in bitsandbytes' NF4. Raises ValueError where that is not installed."""
    try:
        options = load_options("int4", device)
    except EngineError as error:
        raise ValueError(
            "Method qlora needs bitsandbytes, which is not installed. Run "
            "`pip install 'redraft[quantization]'`, or train by lora."
        ) from error
    return AutoModelForCausalLM.from_pretrained(folder, **options)
