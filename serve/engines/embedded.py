"""What the engines in the API's own process share: weights by adapter, and a decoding thread."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from serve.engines.adapter_folder import LORA, verify_adapter
from serve.engines.base import Chunk, Sampling, Scored, already_loaded, not_loaded, room_for
from serve.engines.batching import Decoder, Job
from serve.engines.grammar import Grammars
from serve.engines.sampler import Sampler
from serve.engines.tokenizer import ChatTokenizer


class Embedded(ABC):
    """An engine fills in its weights and its decoder, ranks texts and loads adapters."""

    name: str
    model: str
    context_window: int
    kinds: tuple[str, ...] = (LORA,)  # of adapters
    _weights: dict[str | None, Any]
    _decoder: Decoder
    _grammars: Grammars
    _ends: frozenset[int]

    def _read_tokenizer(self, source: str) -> None:
        self._tokenizer = ChatTokenizer(self.model, source)
        self.encode_chat = self._tokenizer.encode_chat
        self.encode, self.decode = self._tokenizer.encode, self._tokenizer.decode

    def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, adapter: str | None = None
    ) -> Iterator[Chunk]:
        weights = self._answering(adapter)
        self._check_ids(prompt_ids)
        virtual = getattr(weights, "virtual_tokens", 0)
        most = min(sampling.max_tokens, room_for(self, prompt_ids, virtual))
        sampler = Sampler(sampling, self._ends, self.decode, most, self._grammars)
        job = Job(weights, list(prompt_ids), sampler, sampling.n)
        self._decoder.submit(job)
        yield from job.chunks()

    def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], adapter: str | None = None
    ) -> list[float]:
        return [scored.logprob for scored in self.rank(prompt_ids, completion_ids, 0, adapter)]

    @abstractmethod
    def rank(
        self,
        prompt_ids: Sequence[int],
        completion_ids: Sequence[int],
        top: int,
        adapter: str | None = None,
    ) -> list[Scored]:
        """See Ranking.rank."""

    def check_schema(self, schema: str) -> None:
        self._grammars.matcher(schema)

    def load_adapter(self, name: str, path: Path) -> None:
        if name in self._weights:
            raise already_loaded(name)
        verify_adapter(name, path, self.model, self.kinds)
        self._weights[name] = self._adapted_weights(name, path)

    def unload_adapter(self, name: str) -> None:
        self._answering(name)
        # Answers that are being written hold their own reference; memory is free when they end.
        del self._weights[name]

    def adapters(self) -> list[str]:
        return sorted(name for name in self._weights if name is not None)

    @abstractmethod
    def _adapted_weights(self, name: str, path: Path) -> Any:
        """Weights that answer under an adapter, a verified folder. Raises AdapterError."""

    def _check_ids(self, ids: Sequence[int]) -> None:  # noqa: B027 - most weights see any id
        """Raise EngineError for token ids that the weights must not see."""

    def _answering(self, adapter: str | None) -> Any:
        try:
            return self._weights[adapter]
        except KeyError:
            raise not_loaded(self, adapter) from None
