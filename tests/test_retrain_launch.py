"""Training in several processes, as on a machine with several GPUs: two on the CPU."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from retrain import launch
from retrain.job import TrainJob
from serve.engines.adapter_folder import kind_of

ROWS = [
    {
        "prompt": [{"role": "user", "content": f"colour {n}?"}],
        "completion": [{"role": "assistant", "content": "blue"}],
    }
    for n in range(8)
]
SETTINGS = {"epochs": 3.0, "batch_size": 2, "min_steps": 0, "replay": 0, "learning_rate": 1e-2}


def job_of(model: Path, folder: Path, **own: Any) -> TrainJob:
    given = {"rows": ROWS, "settings": SETTINGS, **own}
    return TrainJob(model=model, out=folder / "adapter", **given)


@pytest.mark.slow
def test_two_processes_train_one_adapter(tiny_model: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    job = job_of(tiny_model, tmp_path, progress=lambda step, total, _: seen.append((step, total)))
    result = launch.train("sft", job, processes=2)
    assert result["steps"] == 6  # half as many as one process takes with its batches of two
    assert seen == [(step, 6) for step in range(1, 7)]
    assert result["loss_last"] < result["loss_first"]
    assert kind_of(job.out) == "LORA"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter", "log.txt"]


def test_what_breaks_in_the_first_process_is_told(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = job_of(tiny_model, tmp_path, settings={"learning_speed": 1.0})
    with launch._written("sft", job) as file:
        monkeypatch.setattr(sys, "argv", ["launch", str(file)])
        with pytest.raises(ValueError, match="learning_speed"):
            launch.main()
        told = json.loads(capsys.readouterr().out)
        assert told["error"].startswith("ValueError: Unknown training setting 'learning_speed'")
        monkeypatch.setenv("RANK", "1")
        with pytest.raises(ValueError, match="learning_speed"):
            launch.main()
        assert capsys.readouterr().out == ""


def test_a_broken_training_raises_what_it_said(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(text: str) -> None:
        code = f"print('bars'); print({text!r})"
        monkeypatch.setattr(launch, "command", lambda file, count: [sys.executable, "-c", code])

    said('{"error": "ValueError: no"}')
    with pytest.raises(launch.Broken, match=r"ValueError: no \(in 2 processes"):
        launch.train("sft", job_of(tiny_model, tmp_path), processes=2)
    said("7")
    with pytest.raises(launch.Broken, match="Training in 2 processes broke"):
        launch.train("sft", job_of(tiny_model, tmp_path), processes=2)


@pytest.mark.slow
def test_a_run_that_was_taken_over_ends_its_processes(tiny_model: Path, tmp_path: Path) -> None:
    def taken_over(step: int, total: int, numbers: Any) -> None:
        raise LookupError(step)

    job = job_of(tiny_model, tmp_path, settings={**SETTINGS, "epochs": 1e6}, progress=taken_over)
    with pytest.raises(LookupError, match="1"):
        launch.train("sft", job, processes=2)  # comes back, though a million epochs were asked for
    assert not job.out.exists()


def test_the_launcher_is_accelerates_and_the_module_ours(tmp_path: Path) -> None:
    said = launch.command(tmp_path / "job.json", 4)
    assert said[:3] == [sys.executable, "-m", "accelerate.commands.launch"]
    assert "--num_processes=4" in said and said[-2:] == [
        "retrain.launch",
        str(tmp_path / "job.json"),
    ]
