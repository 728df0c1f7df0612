"""One set of weights, compiled for the CPU, that computes spans of rows over the shared cache."""

import ctypes
import os
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from serve.engines.base import Unsupported
from serve.engines.openvino_cache import Cache, Layout
from serve.engines.openvino_graph import Graph, Rotary
from serve.engines.openvino_runtime import ov
from serve.engines.paged import Span
from serve.engines.tokenizer import first_line


class Compiled:
    """Weights under a key of their own."""

    def __init__(self, module: Any, key: int) -> None:
        """Compile a module. Raises Unsupported where this machine's OpenVINO cannot."""
        self.key = key.to_bytes(8, "little")
        self._rotary = Rotary(module)
        graph = Graph(module)
        try:
            self._compiled = ov.Core().compile_model(graph.model, "CPU")
        except RuntimeError as error:
            raise Unsupported(
                f"OpenVINO cannot compile this model on this machine: {first_line(error)} Start "
                "with REDRAFT_ENGINE=transformers."
            ) from error
        self._request = self._compiled.create_infer_request()

    @property
    def cache_layout(self) -> list[Layout]:
        """The cache's tensors as this machine's kernels want them."""
        found = []
        for port in self._compiled.inputs:
            name = port.get_any_name()
            if "_cache." in name:
                block = tuple(size.get_length() for size in list(port.get_partial_shape())[1:])
                found.append(Layout(name, port.get_element_type(), block))
        return found

    def attach(self, cache: Cache) -> None:
        """Compute over this cache from now on."""
        for name, tensor in cache.tensors.items():
            self._request.set_tensor(name, tensor)

    def logits(self, spans: Sequence[Span]) -> np.ndarray:
        """See paged.Weights."""
        for name, array in self._inputs(spans).items():
            self._request.set_tensor(name, ov.Tensor(array))
        self._request.infer()
        logits: np.ndarray = self._request.get_output_tensor(0).data
        return logits

    def _inputs(self, spans: Sequence[Span]) -> dict[str, np.ndarray]:
        ends = [0, *accumulate(len(span.ids) for span in spans)]
        wanted = [
            position
            for span, end in zip(spans, ends[1:], strict=True)
            for position in range(end - span.wanted, end)
        ]
        positions = [span.past + index for span in spans for index in range(len(span.ids))]
        cos, sin = self._rotary(np.array(positions))
        return {
            "input_ids": np.array([i for span in spans for i in span.ids], np.int64),
            "wanted": np.array(wanted, np.int64),
            "cos": cos,
            "sin": sin,
            "past_lens": _int32([span.past for span in spans]),
            "subsequence_begins": _int32(ends),
            "block_indices": _int32([block for span in spans for block in span.blocks]),
            "block_indices_begins": _int32([0, *accumulate(len(span.blocks) for span in spans)]),
            "max_context_len": _int32(max(span.past + len(span.ids) for span in spans)),
        }


def _int32(values: Any) -> np.ndarray:
    return np.array(values, np.int32)


def give_memory_back() -> None:
    """Return what building took to the machine: glibc keeps 200 MB of it otherwise."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)
