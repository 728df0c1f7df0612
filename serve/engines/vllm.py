"""Engine `vllm`: vLLM's own server, run by `redraft up` or anywhere else, reached over HTTP.

Prompts go to it as token ids, so that what is sent, recorded and trained on are the same tokens.
vLLM batches, shares the prefill of n drafts and of common beginnings, and applies adapters at run
time. It forgets them when it restarts: a request that finds its adapter missing loads it again.

**Log-probabilities.** With `--logprobs-mode processed_logprobs`, which `redraft up` sets, vLLM
reports log-softmax of the logits after penalties, temperature, *top-k and top-p*. That is what
`Chunk` wants where nothing is cut. After a cut, or under a schema, it is of what is left over, so
such answers come without. vLLM's own default, `raw_logprobs`, is taken before the temperature: from
a server that has it, only answers at temperature 1, or greedy ones, without penalties have it.
"""

import logging
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from safetensors import safe_open
from transformers import AutoConfig

from serve.engines.adapter_folder import verify_adapter
from serve.engines.base import (
    QUIET,
    AdapterError,
    Chunk,
    Options,
    Sampling,
    Scored,
    Unavailable,
    Unsupported,
    already_loaded,
    not_loaded,
    room_for,
)
from serve.engines.builtin import model_source
from serve.engines.grammar import Grammars
from serve.engines.remote import Event, Refused, Remote
from serve.engines.tokenizer import ChatTokenizer
from serve.engines.vllm_python import LOG, refuse_bitsandbytes
from serve.engines.vllm_server import PROBE, cards, check_tokens, find_card, reports_processed
from serve.engines.vllm_wire import USAGE, Draft, generation, scored, scoring, told_cached

log = logging.getLogger("redraft")

NOT_FOUND = 404


def open_engine(model: str, home: Path, options: Options) -> "VllmEngine":
    refuse_bitsandbytes(options.quantization)
    remote = _remote(home, options)
    try:
        return VllmEngine(model, home, remote)
    except BaseException:
        remote.close()
        raise


class VllmEngine:
    """A vLLM server, and the adapters that it is to answer under."""

    name = "vllm"

    def __init__(self, model: str, home: Path, remote: Remote) -> None:
        self.model, self._remote = model, remote
        card = find_card(remote, model)
        self._served, self.context_window = str(card["id"]), int(card["max_model_len"])
        source = model_source(model, home)
        self._tokenizer = ChatTokenizer(model, source)
        self.encode_chat = self._tokenizer.encode_chat
        self.encode, self.decode = self._tokenizer.encode, self._tokenizer.decode
        self.vocabulary_size = int(AutoConfig.from_pretrained(source).get_text_config().vocab_size)
        self._grammars = Grammars(self._tokenizer.hf, self.vocabulary_size, self._tokenizer.ends())
        self._adapters: dict[str, Path] = {}
        self._loading = threading.Lock()
        check_tokens(remote, self._served, self.encode)
        self._processed = reports_processed(remote, self._served, self.encode(PROBE))
        if not self._processed:
            log.warning(
                "vLLM at %s reports log-probabilities before the temperature, so answers at other "
                "temperatures than 1 are recorded without. Start it with --logprobs-mode "
                "processed_logprobs.",
                remote.url,
            )

    def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, adapter: str | None = None
    ) -> Iterator[Chunk]:
        self._require(adapter)
        room = room_for(self, prompt_ids)
        known = self._knows_logprobs(sampling)
        if (sampling.logprobs or sampling.top_logprobs) and not known:
            raise Unsupported(
                "This vLLM does not know log-probabilities under these sampling settings: leave "
                "out top_p, top_k and the schema, or logprobs. One that was started elsewhere "
                "needs --logprobs-mode processed_logprobs as well."
            )
        drafts = [Draft(i, self.decode, sampling, known) for i in range(sampling.n)]
        body = generation(prompt_ids, sampling, room)
        last, cached = None, 0
        with closing(self._events(body | USAGE, adapter)) as events:
            for event, more in events:
                if not event:
                    yield QUIET
                for choice in event.get("choices", ()):
                    if chunk := drafts[choice["index"]].take(choice, more):
                        if all(draft.ended for draft in drafts):
                            last = chunk  # until the event behind it, which tells of the cache
                        else:
                            yield chunk
                cached = told_cached(event) or cached
        if last is not None:
            yield last._replace(cached=cached)

    def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], adapter: str | None = None
    ) -> list[float]:
        return [each.logprob for each in self.rank(prompt_ids, completion_ids, 0, adapter)]

    def rank(
        self,
        prompt_ids: Sequence[int],
        completion_ids: Sequence[int],
        top: int,
        adapter: str | None = None,
    ) -> list[Scored]:
        self._require(adapter)
        if not completion_ids:
            return []
        answer = self._answer(scoring([*prompt_ids, *completion_ids], top), adapter)
        places = answer["choices"][0]["prompt_logprobs"][len(prompt_ids) :]
        pairs = zip(completion_ids, places, strict=True)
        return [scored(token_id, place, top) for token_id, place in pairs]

    def check_schema(self, schema: str) -> None:
        # vLLM says so only once it is asked to draw; its backend `guidance` is the same library.
        self._grammars.matcher(schema)

    def load_adapter(self, name: str, path: Path) -> None:
        if name in self._adapters:
            raise already_loaded(name)
        verify_adapter(name, path, self.model)
        _require_layers_alone(name, path)
        with self._loading:
            self._put(name, path.absolute())
            self._adapters[name] = path.absolute()

    def unload_adapter(self, name: str) -> None:
        self._require(name)
        with self._loading:
            del self._adapters[name]
            try:
                self._remote.post("/unload_lora_adapter", {"lora_name": name})
            except (Refused, Unavailable) as error:  # one that restarted has forgotten it
                log.warning("Adapter %s was not unloaded from vLLM: %s", name, error)

    def adapters(self) -> list[str]:
        return sorted(self._adapters)

    def problem(self) -> str | None:
        return self._remote.problem("/health", above=True)  # it lists models also without a core

    def close(self) -> None:
        self._remote.close()

    def _require(self, adapter: str | None) -> None:
        if adapter is not None and adapter not in self._adapters:
            raise not_loaded(self, adapter)

    def _events(self, body: dict[str, Any], adapter: str | None) -> Generator[Event]:
        body = {**body, "model": adapter or self._served}
        try:
            yield from self._remote.stream("/completions", body)
        except Refused as error:  # before the first event
            self._mend(error, adapter, body)
            yield from self._remote.stream("/completions", body)

    def _answer(self, body: dict[str, Any], adapter: str | None) -> Any:
        body = {**body, "model": adapter or self._served}
        try:
            return self._remote.post("/completions", body)
        except Refused as error:
            self._mend(error, adapter, body)
            return self._remote.post("/completions", body)

    def _mend(self, error: Refused, adapter: str | None, body: dict[str, Any]) -> None:
        """Load an adapter that a restarted vLLM has forgotten; raise what else was refused."""
        if error.status != NOT_FOUND or adapter is None:
            if "structured_outputs" in body:
                raise Unsupported(f"vLLM cannot hold to this schema: {error.reason}") from error
            raise error
        with self._loading:
            self._require(adapter)
            self._put(adapter, self._adapters[adapter])
        log.info("vLLM had forgotten adapter %s, which is loaded again", adapter)

    def _put(self, name: str, path: Path) -> None:
        """Make vLLM answer under `name` with the weights in `path`. Raises AdapterError."""
        there = {card["id"]: card.get("root") for card in cards(self._remote)}.get(name)
        if there == str(path):
            return  # vLLM outlived the process that loaded it
        if there is not None:
            raise AdapterError(
                f"vLLM at {self._remote.url} answers under {name} with the weights in {there}, not "
                f"{path}. Names are immutable: restart that vLLM, or unload {name} there."
            )
        try:
            body = {"lora_name": name, "lora_path": str(path)}
            self._remote.post("/load_lora_adapter", body)
        except (Refused, Unavailable) as error:
            if not error.reason:
                raise
            raise _unloadable(name, path, error) from error

    def _knows_logprobs(self, sampling: Sampling) -> bool:
        """Whether what vLLM reports is log-softmax(logits / temperature), with nothing cut."""
        if sampling.schema is not None:
            return False
        if self._processed:
            cut = sampling.top_p < 1 or sampling.top_k > 0
            return not cut or sampling.temperature == 0
        punished = sampling.frequency_penalty or sampling.presence_penalty
        return sampling.temperature in (0, 1) and not punished


def _remote(home: Path, options: Options) -> Remote:
    if options.url:
        way_out = "Start it, or set REDRAFT_ENGINE_URL to where it listens."
        return Remote("vLLM", options.url, options.api_key, way_out)
    url = f"http://127.0.0.1:{options.vllm_port}/v1"
    way_out = f"`redraft up` starts it, also again, which takes a minute; {home / LOG} has its log."
    return Remote("vLLM", url, options.api_key, way_out)


def _require_layers_alone(name: str, path: Path) -> None:
    """Raises AdapterError for weights outside the numbered layers: vLLM leaves those of the head
    out of scores (vllm-project/vllm#51594), and `redraft up` starts it without them."""
    with safe_open(path / "adapter_model.safetensors", "np") as weights:
        outside = [key for key in weights.keys() if not any(p.isdigit() for p in key.split("."))]
    if outside:
        raise AdapterError(
            f"Adapter {name} changes {outside[0]}, which vLLM does not apply everywhere. Train it "
            "on the linear layers alone, or serve it with engine transformers."
        )


def _unloadable(name: str, path: Path, error: Refused | Unavailable) -> AdapterError:
    return AdapterError(
        f"vLLM did not load adapter {name} from {path}: {error.reason.rstrip('.')}. What serves "
        "now goes on serving. A vLLM elsewhere must see the same folder, and be started with "
        "--enable-lora, VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 and a --max-lora-rank that is enough; "
        "the one of `redraft up` learns new ranks when it starts."
    )
