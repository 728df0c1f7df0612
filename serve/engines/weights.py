"""Weights as transformers reads them, and adapters merged into them."""

import copy
import logging
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TQDM_DISABLE", "1")  # bars of a library in the log of a server
# Threads that wait for work must sleep, not spin: beside a training on two cores that is the
# difference between 10 and 26 tokens a second.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging as hf_logging

from serve.engines.adapter_folder import LORA, kind_of
from serve.engines.base import AdapterError
from serve.engines.tokenizer import first_line, unreadable

# PEFT imports it where it is installed; it then misses a faster kernel, and later tells every cast.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def load_weights(model: str, source: str, **options: Any) -> Any:
    """The module of base model `model` in inference mode. Raises EngineError."""
    hf_logging.disable_progress_bar()
    try:
        return AutoModelForCausalLM.from_pretrained(source, **options).eval()
    except (OSError, ValueError) as error:
        raise unreadable(model, error) from error


def fast_dtype(device: str) -> torch.dtype:
    """bf16 where the device computes in it, else float32."""
    if device == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


class Merged:
    """Adapters merged into copies of a module, which compute at the base model's speed.

    Virtual tokens merge into nothing: such an adapter is a cache in front of the module itself.
    """

    def __init__(self, module: Any) -> None:
        self.base = module

    def load(self, name: str, path: Path) -> Any:
        """What computes with the adapter. Raises AdapterError."""
        if kind_of(path) != LORA:
            from serve.engines import prefixed

            return prefixed.load(self.base, name, path)
        # Embeddings are shared, not copied: an adapter on the linear layers leaves them alone.
        shared = self.base.get_input_embeddings().weight
        return merge(copy.deepcopy(self.base, {id(shared): shared}), name, path)


def merge(module: Any, name: str, path: Path) -> Any:
    """The module with the adapter added to its weights, in place. Raises AdapterError."""
    from peft import PeftModel

    try:
        model = PeftModel.from_pretrained(module, str(path), adapter_name="default")
        return model.merge_and_unload().eval()
    except Exception as error:  # PEFT, safetensors and torch each raise their own kinds
        raise unusable(name, path, error) from error


def unusable(name: str, path: Path, error: Exception) -> AdapterError:
    """What to say of an adapter that does not go onto the weights."""
    return AdapterError(
        f"Adapter {name} in {path} cannot be loaded on this base model: {first_line(error)} "
        "It may belong to another base model or be damaged; what serves now goes on serving."
    )
