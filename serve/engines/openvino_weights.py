"""One set of weights, compiled for the CPU, that computes spans of rows over the shared cache."""

import ctypes
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import Any

import numpy as np

from serve.engines.base import Unsupported
from serve.engines.blocks import BLOCK
from serve.engines.openvino_cache import Cache, Layout
from serve.engines.openvino_files import Stored
from serve.engines.openvino_graph import Graph, Rotary
from serve.engines.openvino_runtime import ov
from serve.engines.paged import PROMPT_TOKENS, Span
from serve.engines.tokenizer import first_line

PATIENT = 5  # how much compiling gives way to answers (`nice`)


class Compiled:
    """Weights under a key of their own."""

    def __init__(self, stored: Stored, key: int, patient: bool = False) -> None:
        """Compile weights, `patient` while others are answered.

        Raises Unsupported where this machine's OpenVINO cannot.
        """
        self.key = key.to_bytes(8, "little")
        self._rotary = Rotary(stored.facts)
        graph = Graph(stored.facts, stored.arrays)
        try:
            with ThreadPoolExecutor(1, initializer=_give_way if patient else None) as thread:
                compiled = thread.submit(ov.Core().compile_model, graph.model, "CPU")
            self._compiled = compiled.result()
        except RuntimeError as error:
            raise Unsupported(
                f"OpenVINO cannot compile this model on this machine: {first_line(error)} Start "
                "with REDRAFT_ENGINE=transformers."
            ) from error
        self._request = self._compiled.create_infer_request()
        del graph
        self._warm()
        stored.let_go()
        give_memory_back()
        # OpenVINO goes on reading what it did not pack. The last attribute, so the last to go.
        self._stored = stored

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

    def _warm(self) -> None:
        """Compute once at each size that answers begin with, which makes kernels and packs weights.

        The thread that decodes would do it otherwise, and every stream would wait for it.
        """
        self.attach(Cache(self.cache_layout, 0, PROMPT_TOKENS))
        for ids in ([0] * PROMPT_TOKENS, [0]):
            blocks = list(range(-(-len(ids) // BLOCK)))
            self.logits([Span(ids, 0, blocks, 1)])

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


def _give_way() -> None:
    """Lower this thread's priority. OpenVINO's workers keep theirs: the base model started them."""
    if sys.platform == "linux":  # elsewhere niceness belongs to the process
        os.setpriority(os.PRIO_PROCESS, 0, PATIENT)


def give_memory_back() -> None:
    """Return what building took to the machine: glibc keeps 200 MB of it otherwise."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)
