"""Engine `transformers`: the embedded default, any causal model that transformers reads.

One prefill is shared by the n drafts of a prompt; concurrent requests are decoded in one batch. An
adapter is merged into a copy of the weights, which answers at the base model's speed (an adapter
applied at run time is 2 to 3 times slower on a CPU), and a swap is the change of a reference.
"""

import logging
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from serve.engines import weights as hf  # first: it sets what torch reads when it is imported

# isort: split
import torch

from serve.engines.adapter_folder import verify_adapter
from serve.engines.base import AdapterError, Chunk, EngineError, Options, Sampling, Scored
from serve.engines.batching import Batches, Decoder, Job
from serve.engines.builtin import model_source
from serve.engines.grammar import Grammars
from serve.engines.quantized import Quantized, load_options
from serve.engines.sampler import Sampler
from serve.engines.scoring import scored
from serve.engines.tokenizer import ChatTokenizer
from serve.engines.turns import FairLock

log = logging.getLogger("redraft")


def open_engine(model: str, home: Path, options: Options) -> "TransformersEngine":
    return TransformersEngine(model, home, options.quantization)


class TransformersEngine:
    """Weights in bf16 where the device has it, else float32; or quantised."""

    name = "transformers"

    def __init__(self, model: str, home: Path, quantization: str = "none") -> None:
        self.model = model
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        source = model_source(model, home)
        log.info("Loading %s …", model)
        self._tokenizer = ChatTokenizer(model, source)
        self._turn = FairLock()
        if quantization == "none":
            module = hf.load_weights(model, source, dtype=hf.fast_dtype(self.device))
            self._adapted: hf.Merged | Quantized = hf.Merged(module.to(self.device))
        else:
            module = hf.load_weights(model, source, **load_options(quantization, self.device))
            self._adapted = Quantized(module, self._turn)
        self.encode_chat = self._tokenizer.encode_chat
        self.encode, self.decode = self._tokenizer.encode, self._tokenizer.decode
        self._weights: dict[str | None, Any] = {None: self._adapted.base}
        self._ends = self._tokenizer.ends(module.config, getattr(module, "generation_config", None))
        self.context_window = int(getattr(module.config, "max_position_embeddings", 4096))
        self.vocabulary_size = int(module.get_input_embeddings().num_embeddings)
        self._grammars = Grammars(self._tokenizer.hf, self.vocabulary_size, self._ends)
        self._decoder = Decoder(Batches(self._turn))
        # Also when nobody closes the engine: a thread inside torch must not outlive the program.
        self._end = weakref.finalize(self, self._decoder.close)

    def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, adapter: str | None = None
    ) -> Iterator[Chunk]:
        weights = self._answering(adapter)
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

    @torch.inference_mode()
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
        ids = torch.tensor([[*prompt_ids, *completion_ids]], device=self.device)
        with self._turn:
            out = weights(input_ids=ids, use_cache=False, logits_to_keep=len(completion_ids) + 1)
        return scored(out.logits[0, :-1], ids[0, -len(completion_ids) :], top)

    def check_schema(self, schema: str) -> None:
        self._grammars.matcher(schema)

    def load_adapter(self, name: str, path: Path) -> None:
        if name in self._weights:
            raise AdapterError(f"Adapter {name} is already loaded; names are immutable.")
        verify_adapter(name, path, self.model)
        self._weights[name] = self._adapted.load(name, path)

    def unload_adapter(self, name: str) -> None:
        self._answering(name)
        # Answers that are being written hold their own reference; memory is free when they end.
        del self._weights[name]

    def adapters(self) -> list[str]:
        return sorted(name for name in self._weights if name is not None)

    def close(self) -> None:
        self._end()
        self._weights.clear()
        del self._adapted

    def _answering(self, adapter: str | None) -> Any:
        try:
            return self._weights[adapter]
        except KeyError:
            raise AdapterError(
                f"Adapter {adapter} is not loaded in engine transformers. Loaded: "
                f"{', '.join(self.adapters()) or 'none'}."
            ) from None
