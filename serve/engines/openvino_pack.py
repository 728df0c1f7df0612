"""What engine `openvino` takes of a module that transformers loaded: facts, and 8-bit arrays.

Weights are int8, symmetric, with a scale for 64 of them; what is not multiplied stays in float32.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

GROUP = 64  # against one scale a channel: a fifth less divergence from the exact weights
NORMS = ("input_layernorm", "post_attention_layernorm")
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
HEAD_NORMS = ("q_norm", "k_norm")  # Qwen3 has them
FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")

Array = tuple[str, np.ndarray]


def facts(module: Any) -> dict[str, Any]:
    """What the graph is built by, besides the arrays; as JSON takes it."""
    config, rotary = module.config, module.model.rotary_emb
    return {
        "layers": len(module.model.layers),
        "kv_heads": config.num_key_value_heads,
        "head_size": getattr(config, "head_dim", None)
        or config.hidden_size // config.num_attention_heads,
        "epsilon": config.rms_norm_eps,
        "scaling": float(module.model.layers[0].self_attn.scaling),
        "frequencies": rotary.inv_freq.float().tolist(),
        "rotary_scaling": float(rotary.attention_scaling),
        "vocabulary_size": int(module.get_input_embeddings().num_embeddings),
    }


def arrays(module: Any) -> Iterator[Array]:
    """Every array under its name, one after the other: together they need not fit beside."""
    body, head = module.model, module.lm_head.weight
    embeddings = body.embed_tokens.weight
    with torch.inference_mode():
        yield from _quantised("embed_tokens", embeddings)
        yield "norm", _exact(body.norm.weight)
        for index, layer in enumerate(body.layers):
            yield from _layer(f"layers.{index}.", layer)
        if head is not embeddings and not torch.equal(head, embeddings):
            yield from _linear("lm_head", module.lm_head)


def _layer(prefix: str, layer: Any) -> Iterator[Array]:
    for name in NORMS:
        yield prefix + name, _exact(getattr(layer, name).weight)
    for name in HEAD_NORMS:
        if (norm := getattr(layer.self_attn, name, None)) is not None:
            yield prefix + name, _exact(norm.weight)
    for part, names in ((layer.self_attn, ATTENTION), (layer.mlp, FEED_FORWARD)):
        for name in names:
            yield from _linear(prefix + name, getattr(part, name))


def _linear(name: str, layer: Any) -> Iterator[Array]:
    rows, columns = layer.weight.shape
    group = GROUP if columns % GROUP == 0 else columns
    yield from _quantised(name, layer.weight.reshape(rows, -1, group))
    if layer.bias is not None:
        yield f"{name}.bias", _exact(layer.bias)


def _quantised(name: str, weights: torch.Tensor) -> Iterator[Array]:
    """int8, and the scale of each last dimension."""
    weights = weights.float()
    scales = weights.abs().amax(-1, keepdim=True).clamp(min=1e-12) / 127
    yield f"{name}.int8", (weights / scales).round_().to(torch.int8).numpy()
    yield f"{name}.scales", scales.numpy()


def _exact(weights: torch.Tensor) -> np.ndarray:
    return weights.float().numpy()
