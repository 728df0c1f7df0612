"""Blocks of a paged cache: who holds them, and which hold the beginning of a text."""

import hashlib
import heapq
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

BLOCK = 32  # tokens of a block: what OpenVINO's CPU kernel takes


class Blocks:
    """Counts holders; a block that nobody holds stays findable until its place is needed."""

    def __init__(self, count: int) -> None:
        self._free = list(range(count))  # a heap: low numbers first, so memory is touched late
        self._holders = [0] * count
        self._by_digest: dict[bytes, int] = {}
        self._digests: dict[int, bytes] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()  # findable, unheld; oldest first

    def take(self) -> int | None:
        """A block to write into, None when all are held."""
        if self._free:
            block = heapq.heappop(self._free)
        elif self._idle:
            block, _ = self._idle.popitem(last=False)
            del self._by_digest[self._digests.pop(block)]
        else:
            return None
        self._holders[block] = 1
        return block

    def hold(self, block: int) -> None:
        """One holder more."""
        self._holders[block] += 1
        self._idle.pop(block, None)

    def release(self, block: int) -> None:
        """One holder less."""
        self._holders[block] -= 1
        if self._holders[block]:
            return
        if block in self._digests:
            self._idle[block] = None
        else:
            heapq.heappush(self._free, block)

    def remember(self, block: int, digest: bytes) -> None:
        """Make a full block findable, unless another one holds the same."""
        if digest not in self._by_digest and block not in self._digests:
            self._by_digest[digest], self._digests[block] = block, digest

    def find(self, digest: bytes) -> int | None:
        """The block of a text's beginning, held for the caller."""
        block = self._by_digest.get(digest)
        if block is not None:
            self.hold(block)
        return block


def digest(before: bytes, ids: Sequence[int]) -> bytes:
    """Names a block by all tokens up to its end: `before` is the digest of the block before."""
    return hashlib.blake2b(before + array("q", ids).tobytes(), digest_size=16).digest()


@dataclass(eq=False)
class Row:
    """One text: its tokens, how many of them are in the cache, and in which blocks."""

    ids: list[int]
    done: int = 0
    blocks: list[int] = field(default_factory=list)
    _names: list[bytes] = field(default_factory=list)  # of the full blocks

    @property
    def missing(self) -> int:
        return len(self.ids) - self.done

    def reserve(self, count: int, blocks: Blocks) -> bool:
        """Hold blocks for the next `count` tokens; False when there are not enough."""
        while len(self.blocks) * BLOCK < self.done + count:
            block = blocks.take()
            if block is None:
                return False
            self.blocks.append(block)
        return True

    def recall(self, most: int, key: bytes, blocks: Blocks) -> None:
        """Begin behind those of the first `most` tokens that the cache still knows."""
        while self.done + BLOCK <= most:
            name = self._next_name(key)
            block = blocks.find(name)
            if block is None:
                return
            self.blocks.append(block)
            self._names.append(name)
            self.done += BLOCK

    def advance(self, count: int, key: bytes, blocks: Blocks) -> None:
        """`count` tokens more are in the cache; blocks that are full now become findable."""
        self.done += count
        while (len(self._names) + 1) * BLOCK <= self.done:
            self._names.append(self._next_name(key))
            blocks.remember(self.blocks[len(self._names) - 1], self._names[-1])

    def release(self, blocks: Blocks) -> None:
        """Give all blocks back; the row begins anew."""
        for block in self.blocks:
            blocks.release(block)
        self.done, self.blocks, self._names = 0, [], []

    def _next_name(self, key: bytes) -> bytes:
        first = len(self._names) * BLOCK
        return digest(self._names[-1] if self._names else key, self.ids[first : first + BLOCK])
