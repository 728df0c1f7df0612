"""Engine `transformers` on weights that bitsandbytes quantised."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serve import local_vllm
from serve.engines import open_engine
from serve.engines.base import AdapterError, EngineError, Options, Sampling, Unsupported
from serve.settings import Settings

ASK = [{"role": "user", "content": "one two three"}]
NAME, OTHER = "a-0001-aaaaaa", "a-0002-bbbbbb"


@pytest.fixture(scope="module", params=["int8", "int4"])
def engine(request: pytest.FixtureRequest, tiny_model: Path) -> Iterator[Any]:
    options = Options(quantization=request.param)
    opened = open_engine("transformers", str(tiny_model), tiny_model.parent, options)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def exact(tiny_model: Path) -> Iterator[Any]:
    opened = open_engine("transformers", str(tiny_model), tiny_model.parent)
    yield opened
    opened.close()


def scores(engine: Any, adapter: str | None = None) -> list[float]:
    found: list[float] = engine.score(engine.encode_chat(ASK), engine.encode("a b c"), adapter)
    return found


def apart(one: list[float], other: list[float]) -> float:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


def test_weights_are_quantised_and_near(engine: Any, exact: Any) -> None:
    linear = {type(m).__name__ for m in engine._adapted.module.modules()}
    assert linear & {"Linear8bitLt", "Linear4bit"}
    assert 0 < apart(scores(engine), scores(exact)) < 0.05


def test_adapters_answer_side_by_side(engine: Any, exact: Any, tiny_adapter: Path) -> None:
    base = scores(engine)
    for opened in (engine, exact):
        opened.load_adapter(NAME, tiny_adapter)
    assert apart(scores(engine, NAME), scores(exact, NAME)) < 0.05
    assert apart(scores(engine, NAME), base) > 0.05
    running = engine.generate(engine.encode_chat(ASK), Sampling(max_tokens=60, seed=1), NAME)
    next(running)
    engine.load_adapter(OTHER, tiny_adapter)  # between the tokens of another answer
    engine.unload_adapter(NAME)
    assert list(running)[-1].finish_reason
    assert apart(scores(engine), base) < 1e-3
    assert apart(scores(engine, OTHER), scores(exact, NAME)) < 0.05
    for opened, name in ((engine, OTHER), (exact, NAME)):
        opened.unload_adapter(name)


def test_an_adapter_that_does_not_fit_changes_nothing(
    engine: Any, tiny_adapter: Path, tmp_path: Path
) -> None:
    before = scores(engine)
    folder = shutil.copytree(tiny_adapter, tmp_path / "other")
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "r": 8}))
    with pytest.raises(AdapterError, match="cannot be loaded on this base model"):
        engine.load_adapter(NAME, folder)
    assert scores(engine) == before
    engine.load_adapter(NAME, tiny_adapter)
    assert apart(scores(engine, NAME), before) > 0.05
    engine.unload_adapter(NAME)


def test_an_unloaded_adapter_gives_its_memory_back(engine: Any, tiny_adapter: Path) -> None:
    for _ in range(3):
        engine.load_adapter(NAME, tiny_adapter)
        engine.unload_adapter(NAME)
    assert len(engine._adapted._peft.peft_config) <= 2


def test_without_bitsandbytes_it_says_what_to_install(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(EngineError, match=r"pip install 'redraft\[quantization\]'"):
        open_engine("transformers", str(tiny_model), tiny_model, Options(quantization="int4"))


@pytest.mark.parametrize(
    ("engine", "why"),
    [
        ("echo", "has no weights"),
        ("openai", "are its server's own"),
        ("vllm", "REDRAFT_VLLM_ARGS"),
    ],
)
def test_engines_without_bitsandbytes_refuse_the_setting(
    engine: str, why: str, tmp_path: Path
) -> None:
    with pytest.raises(Unsupported, match=rf"int8.*{why}.*REDRAFT_ENGINE=transformers"):
        open_engine(engine, "m", tmp_path, Options(quantization="int8"))


def test_no_vllm_is_started_to_be_told_so() -> None:
    with pytest.raises(Unsupported, match="REDRAFT_QUANTIZATION is int4"):
        local_vllm.command(Settings(engine="vllm", quantization="int4"))
