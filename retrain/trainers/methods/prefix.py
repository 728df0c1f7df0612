"""Prefix tuning in every layer, P-tuning v2 (arXiv 2101.00190, 2110.07602).

Keys and values of virtual tokens are learned; the weights stay as they are.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, PrefixTuningConfig, get_peft_model

from retrain.trainers.methods import _prompt
from retrain.trainers.methods._prompt import SETTINGS
from retrain.trainers.methods.lora import load

__all__ = ["KIND", "SETTINGS", "begin", "go_on", "load"]

KIND = "PREFIX_TUNING"


def begin(base: Any, folder: Path, settings: Mapping[str, Any]) -> PeftModel:
    count = settings["virtual_tokens"]
    ids = torch.tensor([_prompt.opening(folder, count)], device=base.device)
    with torch.no_grad():
        layers = base(input_ids=ids, use_cache=True).past_key_values.layers
    # [heads, tokens, size] of each layer's keys, then values: PEFT keeps them token by token
    parts = torch.stack([part[0] for layer in layers for part in (layer.keys, layer.values)])
    return _prompt.put(_fresh(base, settings), parts.permute(2, 0, 1, 3).float())


def go_on(base: Any, folder: Path, settings: Mapping[str, Any], start: Path) -> PeftModel:
    return _prompt.taken_up(_fresh(base, settings), start)


def _fresh(base: Any, settings: Mapping[str, Any]) -> PeftModel:
    _prompt.check(settings)
    # PEFT takes TRL's adapter "ref" for a part of its own word "prefix_tuning_", to no effect.
    warnings.filterwarnings("ignore", "Adapter name 'ref'")
    count = settings["virtual_tokens"]
    return get_peft_model(base, PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=count))
