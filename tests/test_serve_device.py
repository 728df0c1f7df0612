"""A GPU that is asked for is there, or nothing starts; one that is not wanted is left alone."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import Redraft

from serve.engines import open_engine, open_judging
from serve.engines.base import EngineError, Options
from serve.engines.device import settle_device

GPU = Options(device="cuda")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("engine", ["auto", "transformers", "openvino", "echo"])
def test_a_gpu_that_is_not_there_is_named(engine: str, tiny_model: Path) -> None:
    with pytest.raises(EngineError, match=r"REDRAFT_DEVICE is cuda, .*nvidia-smi.*leave"):
        open_engine(engine, str(tiny_model), tiny_model.parent, GPU)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("engine", ["openvino", "vllm"])
def test_what_adapters_are_judged_with_takes_no_other_device(engine: str, tiny_model: Path) -> None:
    with pytest.raises(EngineError, match="REDRAFT_DEVICE is cuda"):
        open_judging(engine, str(tiny_model), tiny_model.parent, GPU)


@pytest.mark.parametrize("cuda", [None, "13.0"])
def test_a_build_for_the_cpu_is_told_from_a_missing_gpu(
    no_gpu: None, monkeypatch: pytest.MonkeyPatch, cuda: str | None
) -> None:
    monkeypatch.setattr(torch.version, "cuda", cuda)
    with pytest.raises(EngineError, match="finds none" if cuda else "for the CPU alone"):
        settle_device("cuda")


def test_an_engine_of_the_cpu_does_not_take_its_place(
    monkeypatch: pytest.MonkeyPatch, tiny_model: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(EngineError, match="openvino computes on the CPU.*transformers"):
        open_engine("openvino", str(tiny_model), tiny_model.parent, GPU)


def test_the_cpu_hides_gpus_from_what_is_started_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    settle_device("auto")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    settle_device("cpu")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_up_and_doctor_say_so(make_redraft: Callable[..., Redraft], tiny_model: Path) -> None:
    server = make_redraft(model=tiny_model, engine="transformers", device="cuda")
    for command in (["up", "--no-page", "--no-scheduler"], ["doctor"]):
        done = server.command(*command)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "REDRAFT_DEVICE is cuda" in done.stdout + done.stderr
