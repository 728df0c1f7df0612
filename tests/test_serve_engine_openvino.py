"""What is particular to engine `openvino`: its numbers, its cache, and what it leaves to others."""

import logging
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from api_context import open_here
from conftest import wait_until

from serve.api import create_app
from serve.engines import open_engine
from serve.engines.base import EngineError, Options, Sampling, Unsupported
from serve.engines.blocks import BLOCK, Blocks, Row
from serve.engines.paged import PROMPT_TOKENS
from serve.settings import load_settings

ASK = [{"role": "user", "content": "one two three"}]
ODDS = {
    "qwen2": {"attention_bias": True},
    "qwen3": {"head_dim": 32},
    "mistral": {"sliding_window": None},
    "llama": {
        "tie_word_embeddings": False,
        "rope_parameters": {
            "rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 128,
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Iterator[Any]:
    opened = open_engine("openvino", str(tiny_model), tiny_model.parent)
    yield opened
    opened.close()


def make_model(tiny_model: Path, folder: Path, kind: str, **odds: Any) -> Path:
    """A random two-layer model of another architecture, with the tiny model's tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM

    shutil.copytree(tiny_model, folder)
    tiny = AutoConfig.from_pretrained(tiny_model).to_dict()
    same = {
        k: tiny[k]
        for k in (
            "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "bos_token_id",
            "num_attention_heads", "num_key_value_heads", "max_position_embeddings", "eos_token_id",
            "tie_word_embeddings",
        )
    }  # fmt: skip
    torch.manual_seed(2)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **(same | odds)))
    for name, weights in model.named_parameters():
        if name.endswith(("bias", "norm.weight")):  # ones and zeros would hide a lost one
            torch.nn.init.uniform_(weights, 0.5, 1.5)
    model.save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ODDS)
def test_scores_are_those_of_transformers(
    kind: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.engines.weights.fast_dtype", lambda device: torch.float32)
    folder = make_model(tiny_model, tmp_path / kind, kind, **ODDS[kind])
    engines = [open_engine(name, str(folder), tmp_path) for name in ("openvino", "transformers")]
    text = list(range(3, 3 + PROMPT_TOKENS + BLOCK + 5))  # several steps, several blocks
    ours, theirs = ([*map(float, e.score(text[:9], text[9:]))] for e in engines)
    differences = [abs(a - b) for a, b in zip(ours, theirs, strict=True)]
    spread = max(theirs) - min(theirs)
    assert sum(differences) / len(differences) < 0.03 * spread, (differences[:5], spread)
    for opened in engines:
        opened.close()


def test_import_reports_to_nobody() -> None:
    code = (
        "import sys, serve.engines.openvino; "
        "assert not [m for m in sys.modules if m.startswith('openvino_telemetry.')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_another_architecture_goes_to_transformers(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_model(tiny_model, tmp_path / "gpt_neox", "gpt_neox")
    with pytest.raises(Unsupported, match="its architecture is gpt_neox"):
        open_engine("openvino", str(folder), tmp_path)
    with caplog.at_level(logging.INFO, "redraft"):
        opened = open_engine("auto", str(folder), tmp_path)
    assert opened.name == "transformers"
    assert "its architecture is gpt_neox" in caplog.text
    opened.close()


def test_four_bits_are_refused(tiny_model: Path) -> None:
    with pytest.raises(Unsupported, match="REDRAFT_ENGINE=transformers"):
        open_engine("openvino", str(tiny_model), tiny_model.parent, Options(quantization="int4"))


def test_a_token_beyond_the_vocabulary_is_an_error(engine: Any) -> None:
    with pytest.raises(EngineError, match="Token 1000000 is not in the vocabulary"):
        list(engine.generate([10**6], Sampling()))


def written(engine: Any, prompts: list[list[int]], **sampling: Any) -> list[list[int]]:
    """Token ids of all prompts, asked at once."""
    found: list[list[int]] = [[] for _ in prompts]

    def ask(index: int) -> None:
        settings = Sampling(**{"max_tokens": 100, "temperature": 0, **sampling})
        chunks = engine.generate(prompts[index], settings)
        found[index] = [i for c in chunks for i in c.token_ids]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


PROMPTS = [[5 + i, *range(20, 20 + 37 * i), 9] for i in range(5)]


def test_many_at_once_get_what_each_would_get_alone(engine: Any) -> None:
    alone = [written(engine, [prompt])[0] for prompt in PROMPTS]
    assert written(engine, PROMPTS) == alone


def test_a_full_cache_delays_and_changes_nothing(tiny_model: Path, engine: Any) -> None:
    expected = written(engine, PROMPTS)
    small = open_engine("openvino", str(tiny_model), tiny_model.parent)
    # Room for one prompt with its answer, not for two: the others give their blocks back.
    small._decoder._batches._blocks = Blocks(10)  # type: ignore[attr-defined]
    assert written(small, PROMPTS) == expected
    with pytest.raises(EngineError, match="drafts of this request"):
        list(small.generate([7] * 60, Sampling(n=6, max_tokens=100, temperature=1.0, seed=1)))
    assert written(small, PROMPTS[:1]) == expected[:1]
    small.close()


def test_all_blocks_come_back(engine: Any) -> None:
    written(engine, PROMPTS)
    chunks = engine.generate(PROMPTS[4], Sampling(n=3, max_tokens=300, seed=1))
    next(chunks)
    chunks.close()
    engine.score(PROMPTS[3], PROMPTS[2])
    blocks = engine._decoder._batches._blocks
    wait_until(lambda: engine._decoder._batches.rows == 0, 5)
    assert blocks._holders == [0] * len(blocks._holders)
    assert len(blocks._free) + len(blocks._idle) == len(blocks._holders)


def test_drafts_share_their_prompt(engine: Any) -> None:
    prompt = [11] * (4 * BLOCK + 3)
    chunks = engine.generate(prompt, Sampling(n=4, max_tokens=300, temperature=1.0, seed=5))
    for _ in range(12):
        next(chunks)
    (place,) = engine._decoder._batches._places
    assert len({tuple(row.blocks[:4]) for row in place.rows}) == 1
    assert len({row.blocks[4] for row in place.rows}) == len(place.rows)
    chunks.close()


def test_what_the_cache_saved_is_told_once(engine: Any) -> None:
    prompt = [13] * (3 * BLOCK + 5)
    for n, saved in ((1, 0), (3, 3 * BLOCK)):
        chunks = list(engine.generate(prompt, Sampling(max_tokens=4, n=n, seed=1)))
        assert chunks[0].cached == sum(chunk.cached for chunk in chunks) == saved
    other = list(engine.generate([14, *prompt], Sampling(max_tokens=4)))
    assert sum(chunk.cached for chunk in other) == 0


@pytest.mark.slow
def test_usage_says_what_the_cache_saved(tiny_model: Path, tmp_path: Path) -> None:
    given = {"engine": "openvino", "model": str(tiny_model), "rewrite": "off", "max_tokens": 4}
    with open_here(load_settings(home=tmp_path, **given)) as here:
        api, long = create_app(here).test_client(), "word " * 40
        bodies = {
            "/v1/completions": {"prompt": f"{long}one"},
            "/v1/chat/completions": {"messages": [{"role": "user", "content": f"{long}two"}]},
            "/v1/responses": {"input": f"{long}two"},
        }
        cached = []
        for path, body in bodies.items():
            for _ in range(2):
                usage = api.post(path, json={"model": "redraft", **body}).json["usage"]  # type: ignore[index]
                told = usage.get("prompt_tokens_details") or usage["input_tokens_details"]
                cached.append(told["cached_tokens"])
        here.chat.engine.close()
    text, again, chat, twice, *responses = cached
    assert text == chat == 0
    assert again % BLOCK == 0 and again > 4 * BLOCK
    assert responses == [twice, twice] and twice > 4 * BLOCK  # the same messages


def test_the_beginning_of_a_text_is_recalled_for_its_weights_alone() -> None:
    blocks, ids = Blocks(8), list(range(3 * BLOCK))
    row = Row(ids)
    assert row.reserve(len(ids), blocks)
    row.advance(len(ids), b"one", blocks)
    row.release(blocks)
    again, other, changed = Row([*ids, 1]), Row(ids), Row([0, *ids])
    again.recall(len(ids), b"one", blocks)
    other.recall(len(ids), b"two", blocks)
    changed.recall(len(ids), b"one", blocks)
    assert (again.done, other.done, changed.done) == (3 * BLOCK, 0, 0)
    assert all(blocks.take() is not None for _ in range(5))
    assert blocks.take() is None  # what is held again is not given away
