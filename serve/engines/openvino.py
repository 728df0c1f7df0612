"""Engine `openvino`: the fastest on a CPU, for models of the Llama family.

Weights in 8 bits on OpenVINO's paged attention, requests of all adapters over one cache, tokens
drawn by the sampler that engine `transformers` uses. An adapter is merged into weights of its own.
"""

import itertools
import logging
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from serve.engines import weights as hf  # first: it sets what torch reads when it is imported

# isort: split
from transformers import AutoConfig

from serve.engines.adapter_folder import verify_adapter
from serve.engines.base import (
    AdapterError,
    Chunk,
    EngineError,
    Options,
    Sampling,
    Scored,
    Unsupported,
)
from serve.engines.batching import Decoder, Job
from serve.engines.blocks import Blocks
from serve.engines.builtin import model_source
from serve.engines.grammar import Grammars
from serve.engines.openvino_cache import Cache
from serve.engines.openvino_graph import check_family
from serve.engines.openvino_weights import Compiled, give_memory_back
from serve.engines.paged import PagedBatch
from serve.engines.sampler import Sampler
from serve.engines.scoring import ScoreJob
from serve.engines.tokenizer import ChatTokenizer, unreadable

log = logging.getLogger("redraft")


def open_engine(model: str, home: Path, options: Options) -> "OpenVinoEngine":
    if options.quantization == "int4":
        raise Unsupported(
            "Engine openvino keeps weights in 8 bits; REDRAFT_QUANTIZATION=int4 needs "
            "REDRAFT_ENGINE=transformers."
        )
    return OpenVinoEngine(model, home)


class OpenVinoEngine:
    """One thread computes all requests, on all cores."""

    name = "openvino"

    def __init__(self, model: str, home: Path) -> None:
        self.model = model
        self._source = model_source(model, home)
        config = self._config()
        log.info("Loading %s …", model)
        self._tokenizer = ChatTokenizer(model, self._source)
        self.encode_chat = self._tokenizer.encode_chat
        self.encode, self.decode = self._tokenizer.encode, self._tokenizer.decode
        self._keys = itertools.count()
        module = hf.load_weights(model, self._source)
        self._ends = self._tokenizer.ends(config, getattr(module, "generation_config", None))
        self.vocabulary_size = int(module.get_input_embeddings().num_embeddings)
        self._grammars = Grammars(self._tokenizer.hf, self.vocabulary_size, self._ends)
        base = Compiled(module, next(self._keys))
        self._cache = Cache(base.cache_layout, config.max_position_embeddings)
        base.attach(self._cache)
        del module
        give_memory_back()
        self.context_window = min(config.max_position_embeddings, self._cache.tokens)
        self._weights: dict[str | None, Compiled] = {None: base}
        self._decoder = Decoder(PagedBatch(Blocks(self._cache.count)))
        # Also when nobody closes the engine: a thread at work must not outlive the program.
        self._end = weakref.finalize(self, self._decoder.close)

    def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, adapter: str | None = None
    ) -> Iterator[Chunk]:
        weights = self._answering(adapter)
        self._check_ids(prompt_ids)
        room = self.context_window - len(prompt_ids)
        if room < 1:
            raise EngineError(
                f"The prompt has {len(prompt_ids)} tokens; the window of {self.model} is "
                f"{self.context_window}. Shorten the conversation."
            )
        most = min(sampling.max_tokens, room)
        sampler = Sampler(sampling, self._ends, self.decode, most, self._grammars)
        job = Job(weights, list(prompt_ids), sampler, sampling.n)
        self._decoder.submit(job)
        yield from job.chunks()

    def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], adapter: str | None = None
    ) -> list[float]:
        return [scored.logprob for scored in self.rank(prompt_ids, completion_ids, 0, adapter)]

    def rank(
        self,
        prompt_ids: Sequence[int],
        completion_ids: Sequence[int],
        top: int,
        adapter: str | None = None,
    ) -> list[Scored]:
        if not completion_ids:
            return []
        weights = self._answering(adapter)
        ids = [*prompt_ids, *completion_ids]
        self._check_ids(ids)
        if len(ids) > self.context_window:
            raise EngineError(
                f"The text has {len(ids)} tokens; the window of {self.model} is "
                f"{self.context_window}. Shorten it."
            )
        job = ScoreJob(weights, ids[:-1], list(completion_ids), top)
        self._decoder.submit(job)
        return job.result()

    def check_schema(self, schema: str) -> None:
        self._grammars.matcher(schema)

    def load_adapter(self, name: str, path: Path) -> None:
        if name in self._weights:
            raise AdapterError(f"Adapter {name} is already loaded; names are immutable.")
        verify_adapter(name, path, self.model)
        # Read anew rather than kept: two bytes a weight, for the seconds that a merge takes.
        module = hf.merge(hf.load_weights(self.model, self._source), name, path)
        compiled = Compiled(module, next(self._keys))
        compiled.attach(self._cache)
        self._weights[name] = compiled
        del module
        give_memory_back()

    def unload_adapter(self, name: str) -> None:
        self._answering(name)
        # Answers that are being written hold their own reference; memory is free when they end.
        del self._weights[name]

    def adapters(self) -> list[str]:
        return sorted(name for name in self._weights if name is not None)

    def close(self) -> None:
        self._end()
        self._weights.clear()

    def _config(self) -> Any:
        try:
            config = AutoConfig.from_pretrained(self._source)
        except (OSError, ValueError) as error:
            raise unreadable(self.model, error) from error
        check_family(self.model, config)
        return config

    def _answering(self, adapter: str | None) -> Compiled:
        try:
            return self._weights[adapter]
        except KeyError:
            raise AdapterError(
                f"Adapter {adapter} is not loaded in engine openvino. Loaded: "
                f"{', '.join(self.adapters()) or 'none'}."
            ) from None

    def _check_ids(self, ids: Sequence[int]) -> None:
        # Beyond the table OpenVINO reads memory that is not the model's, without an error.
        unknown = next((i for i in ids if not 0 <= i < self.vocabulary_size), None)
        if unknown is not None:
            raise EngineError(
                f"Token {unknown} is not in the vocabulary of {self.model}, which has "
                f"{self.vocabulary_size} tokens."
            )
