"""Engine `openvino`: the fastest on a CPU, for models of the Llama family.

Weights in 8 bits on OpenVINO's paged attention, requests of all adapters over one cache, tokens
drawn by the sampler that engine `transformers` uses. An adapter is merged into weights of its own.
"""

import itertools
import logging
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import serve.engines.weights  # noqa: F401 - first: it sets what torch reads when it is imported

# isort: split
from transformers import AutoConfig, GenerationConfig

from serve.engines.base import (
    EngineError,
    Options,
    Scored,
    Unsupported,
)
from serve.engines.batching import Decoder
from serve.engines.blocks import Blocks
from serve.engines.builtin import model_source
from serve.engines.embedded import Embedded
from serve.engines.grammar import Grammars
from serve.engines.openvino_cache import Cache
from serve.engines.openvino_graph import check_family
from serve.engines.openvino_store import Store
from serve.engines.openvino_weights import Compiled
from serve.engines.paged import PagedBatch
from serve.engines.scoring import ScoreJob
from serve.engines.tokenizer import unreadable

log = logging.getLogger("redraft")


def open_engine(model: str, home: Path, options: Options) -> "OpenVinoEngine":
    if options.quantization == "int4":
        raise Unsupported(
            "Engine openvino keeps weights in 8 bits; REDRAFT_QUANTIZATION=int4 needs "
            "REDRAFT_ENGINE=transformers."
        )
    return OpenVinoEngine(model, home)


class OpenVinoEngine(Embedded):
    """One thread computes all requests, on all cores."""

    name = "openvino"

    def __init__(self, model: str, home: Path) -> None:
        self.model = model
        self._source = model_source(model, home)
        config = self._config()
        log.info("Loading %s …", model)
        self._read_tokenizer(self._source)
        self._keys = itertools.count()
        self._ends = self._tokenizer.ends(config, _generation_config(self._source))
        commit = getattr(config, "_commit_hash", None)
        self._store = Store(model, self._source, home / "cache" / "openvino", commit)
        base = Compiled(stored := self._store.weights(), next(self._keys))
        self.vocabulary_size = int(stored.facts["vocabulary_size"])
        self._grammars = Grammars(self._tokenizer.hf, self.vocabulary_size, self._ends)
        self._cache = Cache(base.cache_layout, config.max_position_embeddings)
        base.attach(self._cache)
        self.context_window = min(config.max_position_embeddings, self._cache.tokens)
        self._weights = {None: base}
        self._decoder = Decoder(PagedBatch(Blocks(self._cache.count)))
        # Also when nobody closes the engine: a thread at work must not outlive the program.
        self._end = weakref.finalize(self, self._decoder.close)

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

    def _adapted_weights(self, name: str, path: Path) -> Compiled:
        compiled = Compiled(self._store.weights(name, path), next(self._keys), patient=True)
        compiled.attach(self._cache)
        return compiled

    def _check_ids(self, ids: Sequence[int]) -> None:
        # Beyond the table OpenVINO reads memory that is not the model's, without an error.
        unknown = next((i for i in ids if not 0 <= i < self.vocabulary_size), None)
        if unknown is not None:
            raise EngineError(
                f"Token {unknown} is not in the vocabulary of {self.model}, which has "
                f"{self.vocabulary_size} tokens."
            )


def _generation_config(source: str) -> Any:
    try:
        return GenerationConfig.from_pretrained(source)
    except OSError:
        return None  # few models lack it
