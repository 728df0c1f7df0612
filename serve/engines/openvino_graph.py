"""A decoder of the Llama family as an OpenVINO graph with paged attention and 8-bit weights.

Built from the module that transformers loaded, so adapters are merged and read by PEFT as for every
other engine, and no exporter stands between. Weights: int8, symmetric, a scale for 64 of them.
"""

from typing import Any

import numpy as np
import torch

from serve.engines.base import Unsupported
from serve.engines.openvino_runtime import PagedAttention, op, ov

# Same layers, named alike: they differ in biases and in norms of query and key, which are read off.
FAMILY = ("llama", "mistral", "qwen2", "qwen3")
GROUP = 64  # against one scale a channel: a fifth less divergence from the exact weights

Node = Any  # openvino's nodes and outputs are untyped


def check_family(model: str, config: Any) -> None:
    """Raises Unsupported for a model that this graph would compute wrongly."""
    window = getattr(config, "sliding_window", None)
    if config.model_type not in FAMILY:
        reason = f"its architecture is {config.model_type}, not one of {', '.join(FAMILY)}"
    elif window and getattr(config, "use_sliding_window", True):
        reason = f"its attention slides over {window} tokens"
    elif config.hidden_act != "silu":
        reason = f"its activation is {config.hidden_act}, not silu"
    elif "dynamic" in _rope_type(config) or "longrope" in _rope_type(config):
        reason = f"its rotary embedding ({_rope_type(config)}) changes with the length"
    else:
        return
    raise Unsupported(
        f"Engine openvino cannot serve {model}: {reason}. Start with REDRAFT_ENGINE=transformers."
    )


def _rope_type(config: Any) -> str:
    return str((getattr(config, "rope_parameters", None) or {}).get("rope_type", "default"))


class Rotary:
    """Cosine and sine of the rotary embedding [positions, 1, head size]."""

    def __init__(self, module: Any) -> None:
        rotary = module.model.rotary_emb
        self._frequencies = rotary.inv_freq.float().cpu().numpy()
        self._scaling = np.float32(rotary.attention_scaling)

    def __call__(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        angles = np.outer(positions.astype(np.float32), self._frequencies)
        angles = np.concatenate([angles, angles], -1)[:, None]
        return np.cos(angles) * self._scaling, np.sin(angles) * self._scaling


class Graph:
    """The graph of one set of weights; `model` is ready to be compiled.

    Inputs, of `tokens` of all sequences in a row: `input_ids`, `cos`, `sin`; where sequences lie:
    `past_lens`, `subsequence_begins`, `block_indices`, `block_indices_begins`, `max_context_len`;
    `wanted`, the tokens whose logits come out; `key_cache.N`, `value_cache.N`.
    """

    def __init__(self, module: Any) -> None:
        config = module.config
        self._heads = config.num_attention_heads
        self._kv_heads = config.num_key_value_heads
        self._size = getattr(config, "head_dim", None) or config.hidden_size // self._heads
        self._epsilon = config.rms_norm_eps
        self._inputs: dict[str, Node] = {}
        for name in ("input_ids", "wanted"):
            self._input(name, ov.Type.i64, ov.PartialShape([-1]))
        for name in ("cos", "sin"):
            self._input(name, ov.Type.f32, ov.PartialShape([-1, 1, self._size]))
        for name in ("past_lens", "subsequence_begins", "block_indices", "block_indices_begins"):
            self._input(name, ov.Type.i32, ov.PartialShape([-1]))
        self._input("max_context_len", ov.Type.i32, ov.PartialShape([]))
        with torch.inference_mode():
            logits = self._decoder(module)
        self.model = ov.Model([op.result(logits)], list(self._inputs.values()), "decoder")

    def _input(self, name: str, kind: ov.Type, shape: ov.PartialShape) -> Node:
        node = op.parameter(shape, kind, name=name)
        node.output(0).tensor.set_names({name})
        self._inputs[name] = node
        return node

    def _decoder(self, module: Any) -> Node:
        body = module.model
        head = module.lm_head.weight
        embeddings, scales = _quantised(body.embed_tokens.weight)
        ids, first = self._inputs["input_ids"], _ints(0)
        rows = op.convert(op.gather(embeddings, ids, first), "f32")
        hidden = op.multiply(rows, op.gather(scales, ids, first))
        for index, layer in enumerate(body.layers):
            normed = self._norm(hidden, layer.input_layernorm)
            hidden = op.add(hidden, self._attention(normed, layer.self_attn, index))
            normed = self._norm(hidden, layer.post_attention_layernorm)
            hidden = op.add(hidden, _feed_forward(normed, layer.mlp))
        wanted = op.gather(hidden, self._inputs["wanted"], first)
        normed = self._norm(wanted, body.norm)
        if head is body.embed_tokens.weight or torch.equal(head, body.embed_tokens.weight):
            weights = op.multiply(op.convert(embeddings, "f32"), scales)
            return op.matmul(normed, weights, False, True)
        return _linear(normed, module.lm_head)

    def _norm(self, hidden: Node, norm: Any) -> Node:
        """RMS norm, in the form that OpenVINO knows and fuses."""
        square = op.power(hidden, _floats(2.0))
        mean = op.reduce_mean(square, _ints([-1]), True)
        root = op.sqrt(op.add(mean, _floats(self._epsilon)))
        scaled = op.multiply(hidden, op.divide(_floats(1.0), root))
        return op.multiply(scaled, op.constant(_array(norm.weight)))

    def _attention(self, hidden: Node, layer: Any, index: int) -> Node:
        query = self._rotated(_linear(hidden, layer.q_proj), getattr(layer, "q_norm", None))
        key = self._rotated(_linear(hidden, layer.k_proj), getattr(layer, "k_norm", None))
        value = _linear(hidden, layer.v_proj)
        attended = self._paged(query, key, value, index, float(layer.scaling))
        return _linear(attended, layer.o_proj)

    def _rotated(self, flat: Node, norm: Any) -> Node:
        """Rotary embedding on [tokens, heads * size], behind the norm that Qwen3 has there."""
        heads = op.reshape(flat, _ints([0, -1, self._size]), True)
        if norm is not None:
            heads = self._norm(heads, norm)
        first, second = op.split(heads, _ints(2), 2).outputs()
        turned = op.concat([op.multiply(second, _floats(-1.0)), first], 2)
        straight = op.multiply(heads, self._inputs["cos"])
        both = op.add(straight, op.multiply(turned, self._inputs["sin"]))
        return op.reshape(both, _ints([0, -1]), True)

    def _paged(self, query: Node, key: Node, value: Node, index: int, scale: float) -> Node:
        caches = [
            self._input(f"{kind}_cache.{index}", ov.Type.dynamic, ov.PartialShape.dynamic(4))
            for kind in ("key", "value")
        ]
        where = [
            self._inputs[name]
            for name in ("past_lens", "subsequence_begins", "block_indices", "block_indices_begins")
        ]
        inputs = [query, key, value, *caches, *where, _floats(scale), _ints(0), _floats([])]
        inputs += [self._inputs["max_context_len"], *_unused()]
        attention = PagedAttention([_output(node) for node in inputs])
        for side in ("k", "v"):  # where the CPU plugin reads the cache's shape
            attention.rt_info[f"num_{side}_heads"] = self._kv_heads
            attention.rt_info[f"{side}_head_size"] = self._size
        return attention.output(0)


def _unused() -> list[Node]:
    """Inputs 13 to 27 of paged attention, each in the form that turns it off."""
    none, nothing, off = _ints([]), _floats([]), _ints(0)
    return [
        *(none, none, none, nothing),  # score aggregation, rotated blocks, deltas, table
        *(nothing, off, off, nothing),  # xattention threshold, block, stride; sinks
        *(off, none, none, none),  # adaptive eviction
        *(none, op.constant(np.zeros(0, np.uint8)), none),  # token types, query bias, its begins
    ]


def _feed_forward(hidden: Node, layer: Any) -> Node:
    gate = op.swish(_linear(hidden, layer.gate_proj))
    return _linear(op.multiply(gate, _linear(hidden, layer.up_proj)), layer.down_proj)


def _linear(hidden: Node, layer: Any) -> Node:
    size = list(layer.weight.shape)
    group = GROUP if size[1] % GROUP == 0 else size[1]
    rounded, scales = _quantised(layer.weight.reshape(size[0], -1, group))
    weights = op.reshape(op.multiply(op.convert(rounded, "f32"), scales), _ints(size), False)
    product = op.matmul(hidden, weights, False, True)
    return product if layer.bias is None else op.add(product, op.constant(_array(layer.bias)))


def _quantised(weights: torch.Tensor) -> tuple[Node, Node]:
    """int8, and the scale of each last dimension."""
    weights = weights.float()
    scales = weights.abs().amax(-1, keepdim=True).clamp(min=1e-12) / 127
    rounded = (weights / scales).round_().to(torch.int8)
    return op.constant(rounded.numpy()), op.constant(scales.numpy())


def _array(weights: torch.Tensor) -> np.ndarray:
    return weights.float().numpy()


def _ints(value: Any) -> Node:
    return op.constant(np.array(value, np.int32))


def _floats(value: Any) -> Node:
    return op.constant(np.array(value, np.float32))


def _output(node: Node) -> Any:
    return node.output(0) if hasattr(node, "output") else node
