"""vLLM's server with adapters on a CPU mended; run by vLLM's own Python, where Redraft is not.

In a batch that mixes adapters and the base model, vLLM 0.32 marks the base's tokens with the slot
-1, and its kernels for the CPU take that as the last slot: once that is in use, the base answers
with somebody's adapter (vllm-project/vllm#48421, open; those for a GPU leave such tokens out). Here
these tokens go into the kernels as zeros, of which every adapter makes nothing.

Each of vLLM's processes runs this file when it is spawned, so the kernels are mended in all. Its
folder has nothing else: it is where that Python looks for modules first.
"""

import functools
import importlib
import runpy
from collections.abc import Callable
from typing import Any

WHERE = ("vllm.lora.ops.torch_ops.lora_ops", "vllm.lora.ops.torch_ops")  # made, and taken from
KERNELS = ("bgmv_shrink", "bgmv_expand", "bgmv_expand_slice")  # all others are made of these


def without_the_base(kernel: Callable[..., None]) -> Callable[..., None]:
    """The kernel for `inputs` [tokens, features] whose slot is not negative."""

    @functools.wraps(kernel)
    def mended(
        inputs: Any, weights: Any, output: Any, slots: Any, *more: Any, **named: Any
    ) -> None:
        left_out = (slots < 0).unsqueeze(1)
        kernel(inputs.masked_fill(left_out, 0), weights, output, slots, *more, **named)

    return mended


def mend() -> None:
    """Put the mended kernels where others take them from, before anybody did."""
    made, *taken = map(importlib.import_module, WHERE)
    for name in KERNELS:
        mended = without_the_base(getattr(made, name))
        for module in (made, *taken):
            setattr(module, name, mended)


try:
    mend()
except (ImportError, AttributeError) as error:  # another version, which has others or none
    print(f"vLLM has not the kernels of 0.32, so none are mended: {error}")  # noqa: T201

if __name__ == "__main__":
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")
