"""A decoder of the Llama family as an OpenVINO graph with paged attention and 8-bit weights.

Built from the arrays of openvino_pack, which are not copied; no exporter stands between them and
the module that transformers loaded, so adapters are merged by PEFT as for every other engine.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from serve.engines.base import Unsupported
from serve.engines.openvino_runtime import PagedAttention, op, ov

# Same layers, named alike: they differ in biases and in norms of query and key, which are read off.
FAMILY = ("llama", "mistral", "qwen2", "qwen3")

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

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._frequencies = np.array(facts["frequencies"], np.float32)
        self._scaling = np.float32(facts["rotary_scaling"])

    def __call__(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        angles = np.outer(positions.astype(np.float32), self._frequencies)
        angles = np.concatenate([angles, angles], -1)[:, None]
        return np.cos(angles) * self._scaling, np.sin(angles) * self._scaling


class Graph:
    """The graph of one set of weights; `model` is ready to be compiled, the arrays must outlive it.

    Inputs, of `tokens` of all sequences in a row: `input_ids`, `cos`, `sin`; where sequences lie:
    `past_lens`, `subsequence_begins`, `block_indices`, `block_indices_begins`, `max_context_len`;
    `wanted`, the tokens whose logits come out; `key_cache.N`, `value_cache.N`.
    """

    def __init__(self, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self._facts, self._arrays = facts, arrays
        self._size = facts["head_size"]
        self._inputs: dict[str, Node] = {}
        for name in ("input_ids", "wanted"):
            self._input(name, ov.Type.i64, ov.PartialShape([-1]))
        for name in ("cos", "sin"):
            self._input(name, ov.Type.f32, ov.PartialShape([-1, 1, self._size]))
        for name in ("past_lens", "subsequence_begins", "block_indices", "block_indices_begins"):
            self._input(name, ov.Type.i32, ov.PartialShape([-1]))
        self._input("max_context_len", ov.Type.i32, ov.PartialShape([]))
        result = op.result(self._decoder())
        self.model = ov.Model([result], list(self._inputs.values()), "decoder")

    def _input(self, name: str, kind: ov.Type, shape: ov.PartialShape) -> Node:
        node = op.parameter(shape, kind, name=name)
        node.output(0).tensor.set_names({name})
        self._inputs[name] = node
        return node

    def _decoder(self) -> Node:
        embeddings = self._constant("embed_tokens.int8")
        scales = self._constant("embed_tokens.scales")
        ids, first = self._inputs["input_ids"], _ints(0)
        rows = op.convert(op.gather(embeddings, ids, first), "f32")
        hidden = op.multiply(rows, op.gather(scales, ids, first))
        for index in range(self._facts["layers"]):
            layer = f"layers.{index}."
            normed = self._norm(hidden, f"{layer}input_layernorm")
            hidden = op.add(hidden, self._attention(normed, index))
            normed = self._norm(hidden, f"{layer}post_attention_layernorm")
            hidden = op.add(hidden, self._feed_forward(normed, layer))
        wanted = op.gather(hidden, self._inputs["wanted"], first)
        normed = self._norm(wanted, "norm")
        if "lm_head.int8" in self._arrays:
            return self._linear(normed, "lm_head")
        weights = op.multiply(op.convert(embeddings, "f32"), scales)
        return op.matmul(normed, weights, False, True)

    def _constant(self, name: str) -> Node:
        # By way of a tensor: of an array it would keep a reference, and drop it without the GIL.
        return op.constant(ov.Tensor(self._arrays[name], shared_memory=True), shared_memory=True)

    def _norm(self, hidden: Node, name: str) -> Node:
        """RMS norm, in the form that OpenVINO knows and fuses."""
        square = op.power(hidden, _floats(2.0))
        mean = op.reduce_mean(square, _ints([-1]), True)
        root = op.sqrt(op.add(mean, _floats(self._facts["epsilon"])))
        scaled = op.multiply(hidden, op.divide(_floats(1.0), root))
        return op.multiply(scaled, self._constant(name))

    def _attention(self, hidden: Node, index: int) -> Node:
        layer = f"layers.{index}."
        query = self._rotated(self._linear(hidden, f"{layer}q_proj"), f"{layer}q_norm")
        key = self._rotated(self._linear(hidden, f"{layer}k_proj"), f"{layer}k_norm")
        value = self._linear(hidden, f"{layer}v_proj")
        return self._linear(self._paged(query, key, value, index), f"{layer}o_proj")

    def _feed_forward(self, hidden: Node, layer: str) -> Node:
        gate = op.swish(self._linear(hidden, f"{layer}gate_proj"))
        both = op.multiply(gate, self._linear(hidden, f"{layer}up_proj"))
        return self._linear(both, f"{layer}down_proj")

    def _linear(self, hidden: Node, name: str) -> Node:
        rounded, scales = self._constant(f"{name}.int8"), self._constant(f"{name}.scales")
        rows, groups, group = self._arrays[f"{name}.int8"].shape
        weights = op.multiply(op.convert(rounded, "f32"), scales)
        weights = op.reshape(weights, _ints([rows, groups * group]), False)
        product = op.matmul(hidden, weights, False, True)
        if f"{name}.bias" not in self._arrays:
            return product
        return op.add(product, self._constant(f"{name}.bias"))

    def _rotated(self, flat: Node, norm: str) -> Node:
        """Rotary embedding on [tokens, heads * size], behind the norm that Qwen3 has there."""
        heads = op.reshape(flat, _ints([0, -1, self._size]), True)
        if norm in self._arrays:
            heads = self._norm(heads, norm)
        first, second = op.split(heads, _ints(2), 2).outputs()
        turned = op.concat([op.multiply(second, _floats(-1.0)), first], 2)
        straight = op.multiply(heads, self._inputs["cos"])
        both = op.add(straight, op.multiply(turned, self._inputs["sin"]))
        return op.reshape(both, _ints([0, -1]), True)

    def _paged(self, query: Node, key: Node, value: Node, index: int) -> Node:
        caches = [
            self._input(f"{kind}_cache.{index}", ov.Type.dynamic, ov.PartialShape.dynamic(4))
            for kind in ("key", "value")
        ]
        where = [
            self._inputs[name]
            for name in ("past_lens", "subsequence_begins", "block_indices", "block_indices_begins")
        ]
        scale = _floats(self._facts["scaling"])
        inputs = [query, key, value, *caches, *where, scale, _ints(0), _floats([])]
        inputs += [self._inputs["max_context_len"], *_unused()]
        attention = PagedAttention([_output(node) for node in inputs])
        for side in ("k", "v"):  # where the CPU plugin reads the cache's shape
            attention.rt_info[f"num_{side}_heads"] = self._facts["kv_heads"]
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


def _ints(value: Any) -> Node:
    return op.constant(np.array(value, np.int32))


def _floats(value: Any) -> Node:
    return op.constant(np.array(value, np.float32))


def _output(node: Node) -> Any:
    return node.output(0) if hasattr(node, "output") else node
