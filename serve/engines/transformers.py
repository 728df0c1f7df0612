"""Engine `transformers`: the embedded default, any causal model that transformers reads.

One prefill is shared by the n drafts of a prompt; concurrent requests are decoded in one batch. An
adapter is merged into a copy of the weights, which answers at the base model's speed (an adapter
applied at run time is 2 to 3 times slower on a CPU), and a swap is the change of a reference.
"""

import logging
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serve.engines import weights as hf  # first: it sets what torch reads when it is imported

# isort: split
import torch

from serve.engines.adapter_folder import LORA
from serve.engines.base import Options, Scored
from serve.engines.batching import Batches, Decoder
from serve.engines.builtin import model_source
from serve.engines.embedded import Embedded
from serve.engines.grammar import Grammars
from serve.engines.quantized import Quantized, load_options
from serve.engines.scoring import scored
from serve.engines.turns import FairLock

log = logging.getLogger("redraft")

# Of adapters that whole weights take; quantised ones take LoRA alone.
KINDS = ("LORA", "PREFIX_TUNING", "PROMPT_TUNING")


def open_engine(model: str, home: Path, options: Options) -> "TransformersEngine":
    return TransformersEngine(model, home, options.quantization)


class TransformersEngine(Embedded):
    """Weights in bf16 where the device has it, else float32; or quantised."""

    name = "transformers"

    def __init__(self, model: str, home: Path, quantization: str = "none") -> None:
        self.model = model
        self.kinds = KINDS if quantization == "none" else (LORA,)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        source = model_source(model, home)
        log.info("Loading %s …", model)
        self._read_tokenizer(source)
        self._turn = FairLock()
        if quantization == "none":
            module = hf.load_weights(model, source, dtype=hf.fast_dtype(self.device))
            self._adapted: hf.Merged | Quantized = hf.Merged(module.to(self.device))
        else:
            module = hf.load_weights(model, source, **load_options(quantization, self.device))
            self._adapted = Quantized(module, self._turn)
        self._weights = {None: self._adapted.base}
        self._ends = self._tokenizer.ends(module.config, getattr(module, "generation_config", None))
        self.context_window = int(getattr(module.config, "max_position_embeddings", 4096))
        self.vocabulary_size = int(module.get_input_embeddings().num_embeddings)
        self._grammars = Grammars(self._tokenizer.hf, self.vocabulary_size, self._ends)
        self._decoder = Decoder(Batches(self._turn))
        # Also when nobody closes the engine: a thread inside torch must not outlive the program.
        self._end = weakref.finalize(self, self._decoder.close)

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

    def close(self) -> None:
        self._end()
        self._weights.clear()
        del self._adapted

    def _adapted_weights(self, name: str, path: Path) -> Any:
        return self._adapted.load(name, path)
