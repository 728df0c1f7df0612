"""A base model behind learned virtual tokens: what prefix and prompt tuning make.

Either is a cache that every text begins with, so the weights are shared by all such adapters.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache

from serve.engines.weights import unusable


class Prefixed:
    """What decoding calls: the module, which sees the virtual tokens before an empty cache."""

    def __init__(self, module: Any, layers: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        self._module, self._layers = module, layers
        self.config, self.device = module.config, module.device
        self.virtual_tokens = int(layers[0][0].shape[-2])

    def __call__(self, **inputs: Any) -> Any:
        cache = inputs.pop("past_key_values", None)
        if cache is None:
            cache = DynamicCache(config=self.config)
        if cache.get_seq_length() == 0:
            for number, (keys, values) in enumerate(self._layers):
                cache.update(keys, values, number)
        return self._module(**inputs, past_key_values=cache)


@torch.inference_mode()
def load(module: Any, name: str, path: Path) -> Prefixed:
    """The module behind the virtual tokens of an adapter's folder. Raises AdapterError."""
    from peft import PeftModel, PeftType

    try:
        model = PeftModel.from_pretrained(module, str(path), adapter_name="default")
        learned = model.get_prompt(batch_size=1)
        if model.active_peft_config.peft_type != PeftType.PREFIX_TUNING:
            embeddings = learned.to(module.dtype)
            learned = module(inputs_embeds=embeddings, use_cache=True).past_key_values
        return Prefixed(module, [(layer.keys, layer.values) for layer in learned.layers])
    except Exception as error:  # PEFT, safetensors and torch each raise their own kinds
        raise unusable(name, path, error) from error
