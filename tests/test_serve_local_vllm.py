"""What vLLM is started with, and what is said where there is none."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Redraft

from serve import local_vllm
from serve.settings import Settings


def adapter(home: Path, name: str, **config: object) -> None:
    folder = home / "adapters" / name
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("configs", "rank"),
    [
        ([], 16),
        ([{"r": 8}, {"r": 16}], 16),
        ([{"r": 8}, {"r": 24}], 32),
        ([{"r": 8, "rank_pattern": {"q_proj": 100}}], 128),
        ([{"r": 1000}], 512),
        ([{"no": "rank"}, {"r": 64}], 64),
    ],
)
def test_the_rank_is_the_least_that_takes_every_adapter(
    tmp_path: Path, configs: list[dict[str, object]], rank: int
) -> None:
    for number, config in enumerate(configs):
        adapter(tmp_path, f"a-{number}", **config)
    assert local_vllm.highest_rank(Settings(home=tmp_path)) == rank


@pytest.mark.slow
def test_the_command_names_model_port_and_layers(tmp_path: Path, tiny_model: Path) -> None:
    python = tmp_path / "python"
    python.touch()
    told = local_vllm.command(
        Settings(
            home=tmp_path,
            model=str(tiny_model),
            vllm_python=str(python),
            vllm_port=9001,
            vllm_args="--max-model-len 128 --dtype 'float32'",
        )  # fmt: skip
    )
    assert told[:2] == [str(python), str(local_vllm.START)] and local_vllm.START.is_file()
    assert told[told.index("--port") + 1] == "9001"
    layers = told[told.index("--lora-target-modules") + 1 :][:7]
    assert {"q_proj", "down_proj"} <= set(layers) and "lm_head" not in layers
    assert told[-4:] == ["--max-model-len", "128", "--dtype", "float32"]


def test_the_key_reaches_vllm_and_our_paths_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    found = local_vllm.environment(Settings(engine_api_key="secret"))
    assert found["VLLM_API_KEY"] == "secret" and "PYTHONPATH" not in found
    assert "VLLM_API_KEY" not in local_vllm.environment(Settings())


@pytest.mark.slow
def test_a_python_that_is_none_is_refused_by_up_and_doctor(
    tmp_path: Path, make_redraft: Callable[..., Redraft]
) -> None:
    server = make_redraft(engine="vllm", vllm_python=tmp_path / "none")
    for command in (("up", "--no-page"), ("doctor",)):
        done = server.command(*command, seconds=120)
        assert done.returncode == 1
        assert f"REDRAFT_VLLM_PYTHON '{tmp_path / 'none'}' is no file" in done.stdout + done.stderr
