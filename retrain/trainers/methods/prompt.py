"""Prompt tuning (arXiv 2104.08691): the embeddings of virtual tokens are learned, nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, PromptTuningConfig, get_peft_model

from retrain.trainers.methods import _prompt
from retrain.trainers.methods._prompt import SETTINGS
from retrain.trainers.methods.lora import load

__all__ = ["KIND", "SETTINGS", "begin", "go_on", "load"]

KIND = "PROMPT_TUNING"


def begin(base: Any, folder: Path, settings: Mapping[str, Any]) -> PeftModel:
    ids = torch.tensor(_prompt.opening(folder, settings["virtual_tokens"]), device=base.device)
    with torch.no_grad():
        rows = base.get_input_embeddings()(ids).float()
    return _prompt.put(_fresh(base, settings), rows)


def go_on(base: Any, folder: Path, settings: Mapping[str, Any], start: Path) -> PeftModel:
    return _prompt.taken_up(_fresh(base, settings), start)


def _fresh(base: Any, settings: Mapping[str, Any]) -> PeftModel:
    _prompt.check(settings)
    count = settings["virtual_tokens"]
    return get_peft_model(base, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=count))
