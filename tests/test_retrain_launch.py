"""Training in several processes, as on a machine with several GPUs: two on the CPU."""

import json
import shlex
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
    job = job_of(
        tiny_model, tmp_path, progress=lambda step, total, _, part="": seen.append((step, total))
    )
    result = launch.train("sft", job, processes=2)
    assert result["steps"] == 6  # half as many as one process takes with its batches of two
    assert seen == [(step, 6) for step in range(1, 7)]
    assert result["loss_last"] < result["loss_first"]
    assert kind_of(job.out) == "LORA"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter", "log.txt"]


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["dpo", "kto"])
def test_two_processes_ask_the_reference_together(
    trainer: str, tiny_model: Path, tmp_path: Path
) -> None:
    seen: list[tuple[str, int, int]] = []
    wrong = [{"role": "assistant", "content": "a long and grey one"}]
    rows = [
        {"prompt": row["prompt"], "chosen": row["completion"], "rejected": wrong}
        if trainer == "dpo"
        else {**row, "label": number % 2 == 0}
        for number, row in enumerate(ROWS)
    ]
    job = job_of(
        tiny_model,
        tmp_path,
        rows=rows,
        settings={name: value for name, value in SETTINGS.items() if name != "replay"},
        progress=lambda step, total, _, part="": seen.append((part, step, total)),
    )
    result = launch.train(trainer, job, processes=2)
    asked = [("reference", step, 2) for step in (1, 2)]
    assert seen == asked + [("", step, 6) for step in range(1, 7)]
    assert result["rows"] == 8 and result["loss_last"] < result["loss_first"]


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
        monkeypatch.setattr(launch, "here", lambda count: [sys.executable, "-c", code])

    said('{"error": "ValueError: no"}')
    with pytest.raises(launch.Broken, match=r"ValueError: no \(all that its processes said"):
        launch.train("sft", job_of(tiny_model, tmp_path), processes=2)
    said("7")
    with pytest.raises(launch.Broken, match="Training in processes of their own broke"):
        launch.train("sft", job_of(tiny_model, tmp_path), processes=2)


@pytest.mark.slow
def test_a_run_that_was_taken_over_ends_its_processes(tiny_model: Path, tmp_path: Path) -> None:
    def taken_over(step: int, total: int, numbers: Any, part: str = "") -> None:
        raise LookupError(step)

    job = job_of(tiny_model, tmp_path, settings={**SETTINGS, "epochs": 1e6}, progress=taken_over)
    with pytest.raises(LookupError, match="1"):
        launch.train("sft", job, processes=2)  # comes back, though a million epochs were asked for
    assert not job.out.exists()


def test_the_launcher_is_accelerates_and_the_module_ours(tmp_path: Path) -> None:
    said = launch.here(4)
    assert said[:3] == [sys.executable, "-m", "accelerate.commands.launch"]
    assert "--num_processes=4" in said


NODES = """
import socket, subprocess, sys
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
said = ["--multi_gpu", "--num_processes=2", "--num_machines=2", "--mixed_precision=no",
    "--dynamo_backend=no", "--main_process_ip=127.0.0.1", f"--main_process_port={port}"]
launch = [sys.executable, "-m", "accelerate.commands.launch", *said]
nodes = [
    subprocess.Popen([*launch, f"--machine_rank={rank}", *sys.argv[1:]]) for rank in (0, 1)
]
sys.exit(max(node.wait() for node in nodes))
"""


@pytest.mark.slow
def test_a_launcher_of_the_operators_starts_one_training_on_two_nodes(
    tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "nodes.py").write_text(NODES)
    seen: list[tuple[int, int]] = []
    folder = tmp_path / "home"
    folder.mkdir()
    job = job_of(
        tiny_model, folder, progress=lambda step, total, _, part="": seen.append((step, total))
    )
    launcher = shlex.join([sys.executable, str(tmp_path / "nodes.py")])
    result = launch.train("sft", job, launcher=launcher)
    assert result["steps"] == 6 and seen == [(step, 6) for step in range(1, 7)]
    assert kind_of(job.out) == "LORA"


def test_a_launcher_that_is_not_there_is_named(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(launch.Broken, match=r"srun-it does not start: No such.*TRAIN_LAUNCHER"):
        launch.train("sft", job_of(tiny_model, tmp_path), launcher="srun-it --nodes 2")
