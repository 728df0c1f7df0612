"""The paged cache of keys and values, which all weights of one base model share."""

import math
from dataclasses import dataclass
from typing import Any

import psutil

from serve.engines.blocks import BLOCK
from serve.engines.openvino_runtime import ov

TOKENS = 32_768  # of all streams together; SmolLM2-135M: 420 MB when all of them are used
SHARE = 0.25  # of the machine's memory, at most


@dataclass(frozen=True)
class Layout:
    """One tensor of the cache: its input, its element type, and the shape of one block."""

    name: str
    kind: Any
    block: tuple[int, ...]

    @property
    def block_bytes(self) -> int:
        return math.prod(self.block) * int(self.kind.size)


class Cache:
    """Tensors of `count` blocks; memory that no block was written to is not taken."""

    def __init__(self, layouts: list[Layout], window: int, tokens: int = TOKENS) -> None:
        """For `tokens` of all streams together, and for `window` of one at least."""
        most = SHARE * psutil.virtual_memory().total
        affordable = int(most // sum(layout.block_bytes for layout in layouts))
        self.count = min(max(tokens, window) // BLOCK, affordable)
        self.tensors = {layout.name: self._tensor(layout) for layout in layouts}

    @property
    def tokens(self) -> int:
        return self.count * BLOCK

    def _tensor(self, layout: Layout) -> ov.Tensor:
        # OpenVINO's own allocation: pages come when written, which np.zeros does not promise here.
        return ov.Tensor(layout.kind, ov.Shape([self.count, *layout.block]))
