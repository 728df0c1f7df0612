"""Virtual tokens, of prefix and prompt tuning, in the engine that serves them; others refuse."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serve.engines import carried, open_engine
from serve.engines.adapter_folder import LORA, kind_of
from serve.engines.base import AdapterError, EngineError, Options, Sampling

ASK = [{"role": "user", "content": "one two three"}]
NAME = "a-0001-aaaaaa"


@pytest.fixture(scope="module", params=["prefix", "prompt"])
def folder(
    request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An adapter of seven virtual tokens that change the answers."""
    import torch
    from peft import PrefixTuningConfig, PromptTuningConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    kind = PrefixTuningConfig if request.param == "prefix" else PromptTuningConfig
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32),
        kind(task_type="CAUSAL_LM", num_virtual_tokens=7),
    )
    made = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Iterator[Any]:
    opened = open_engine("transformers", str(tiny_model), tiny_model.parent)
    yield opened
    opened.close()


def written(engine: Any, adapter: str | None, **own: Any) -> dict[int, list[int]]:
    """The token ids of each draft."""
    found: dict[int, list[int]] = {}
    sampling = Sampling(**{"max_tokens": 8, "temperature": 0.0, **own})
    for chunk in engine.generate(engine.encode_chat(ASK), sampling, adapter):
        found.setdefault(chunk.draft, []).extend(chunk.token_ids)
    return found


def by_peft(tiny_model: Path, folder: Path, ids: list[int]) -> Any:
    """Log-probabilities [positions, vocabulary] as PEFT computes them behind the virtual tokens."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, folder).eval()
    given = torch.tensor([ids])
    with torch.no_grad():
        logits = model(input_ids=given, attention_mask=torch.ones_like(given)).logits[0]
    return logits[-len(ids) :].log_softmax(-1)


def test_scores_and_answers_are_those_of_peft(engine: Any, tiny_model: Path, folder: Path) -> None:
    base = written(engine, None)
    engine.load_adapter(NAME, folder)
    try:
        prompt, said = engine.encode_chat(ASK), engine.encode("a b c")
        expected = by_peft(tiny_model, folder, prompt + said)
        scored = engine.score(prompt, said, NAME)
        wanted = [float(expected[len(prompt) - 1 + n, id]) for n, id in enumerate(said)]
        exact = engine._weights[None].dtype.itemsize > 2
        assert scored == pytest.approx(wanted, abs=1e-4 if exact else 0.2)
        (answer,) = written(engine, NAME).values()
        behind = by_peft(tiny_model, folder, prompt + answer)
        gaps = [
            float(behind[len(prompt) - 1 + n].max() - behind[len(prompt) - 1 + n, id])
            for n, id in enumerate(answer)
        ]
        assert max(gaps) < (1e-3 if exact else 0.2)  # each token is the likeliest there
        assert written(engine, None) == base
    finally:
        engine.unload_adapter(NAME)


def test_drafts_of_one_prompt_share_the_virtual_tokens(engine: Any, folder: Path) -> None:
    engine.load_adapter(NAME, folder)
    try:
        alone = written(engine, NAME)[0]
        assert list(written(engine, NAME, n=3).values()) == [alone] * 3
    finally:
        engine.unload_adapter(NAME)


def test_virtual_tokens_take_their_place_in_the_window(engine: Any, folder: Path) -> None:
    engine.load_adapter(NAME, folder)
    try:
        prompt = [5] * (engine.context_window - 9)
        sampling = Sampling(max_tokens=50, temperature=0.0)
        last = [*engine.generate(prompt, sampling, NAME)][-1]
        assert last.finish_reason == "length"
        with pytest.raises(EngineError, match=f"window of .* is {engine.context_window - 7}"):
            list(engine.generate(prompt + [5, 5], sampling, NAME))
    finally:
        engine.unload_adapter(NAME)


@pytest.mark.parametrize(
    ("name", "options"),
    [("openvino", Options()), ("transformers", Options(quantization="int8"))],
)
def test_engines_that_cannot_say_so(
    name: str, options: Options, tiny_model: Path, folder: Path
) -> None:
    opened = open_engine(name, str(tiny_model), tiny_model.parent, options)
    try:
        with pytest.raises(
            AdapterError, match=f"of kind {kind_of(folder)}; this engine loads LORA"
        ):
            opened.load_adapter(NAME, folder)
        assert opened.adapters() == [] and opened.kinds == (LORA,)
    finally:
        opened.close()


def test_only_whole_weights_in_transformers_carry_virtual_tokens() -> None:
    assert len(carried("transformers")) == 3
    for engine in ("openvino", "vllm", "openai", "echo"):
        assert carried(engine) == (LORA,)
    assert carried("transformers", "int4") == (LORA,)
