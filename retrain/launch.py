"""A stage's training: in this process, or in several under `accelerate launch`, one for each GPU.

Several read the same job from a file and train as one (data parallel): a `batch_size` is each
one's own. The first tells how far it is on standard output, one JSON object a line. Where they are
on several machines, these share the home folder and a launcher of the operator's starts them.
"""

import importlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from retrain.job import TrainJob
from retrain.manifest import read_json, read_rows, write_json, write_rows

PLACES = ("model", "out", "start", "reward")  # of a job
JOB, ROWS = "job.json", "job.jsonl"
SHOWN = 2000  # characters of the end of a broken training's log
FIRST = "0"


class Broken(Exception):
    """The processes of a training ended without a result; the message says what they said."""


def train(trainer: str, job: TrainJob, processes: int = 0, launcher: str = "") -> dict[str, Any]:
    """Run the trainer; gives its result. `processes` 0: one for each GPU.

    A `launcher` is a command that knows of the processes itself, and of the machines they are on;
    `--module retrain.launch JOB` comes behind it. Raises Broken.
    """
    count = processes or _gpus()
    if count == 1 and not launcher:
        found: dict[str, Any] = importlib.import_module(f"retrain.trainers.{trainer}").train(job)
        return found
    with _written(trainer, job) as file:
        start = shlex.split(launcher) or here(count)
        return _launched([*start, "--module", "retrain.launch", str(file)], job)


def here(count: int) -> list[str]:
    """The launcher of `count` processes on this machine."""
    options = {
        "num_processes": count,
        "num_machines": 1,
        "mixed_precision": "no",  # the trainer's own settings say
        "dynamo_backend": "no",
        "main_process_port": 0,  # a free one
    }
    said = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", *said]


def _gpus() -> int:
    import torch

    return max(torch.cuda.device_count(), 1)


@contextmanager
def _written(trainer: str, job: TrainJob) -> Iterator[Path]:
    """The file of a job, beside its output, for as long as it is trained."""
    folder = job.out.parent
    places = {name: getattr(job, name) for name in PLACES}
    write_rows(folder / ROWS, job.rows)
    told = {"trainer": trainer, "seed": job.seed, "settings": dict(job.settings)}
    write_json(folder / JOB, told | {name: path and str(path) for name, path in places.items()})
    try:
        yield folder / JOB
    finally:
        for name in (JOB, ROWS):
            (folder / name).unlink(missing_ok=True)


def _launched(command: list[str], job: TrainJob) -> dict[str, Any]:
    log = job.out.with_name("log.txt")
    result = None
    with log.open("w", encoding="utf-8") as errors, _started(command, errors) as process:
        try:
            for told in _told(process):
                if "step" in told:
                    job.progress(told["step"], told["total"], told["metrics"], part=told["part"])
                if "error" in told:
                    raise Broken(f"{told['error']} (all that its processes said is in {log})")
                result = told.get("result", result)
        except BaseException:  # also when the run was taken over meanwhile
            process.terminate()
            raise
    if result is None:
        end = log.read_text(encoding="utf-8")[-SHOWN:]
        raise Broken(
            f"Training in processes of their own broke ({shlex.join(command)}). The end of what "
            f"they said:\n{end}"
        )
    found: dict[str, Any] = result
    return found


def _started(command: list[str], errors: IO[str]) -> "subprocess.Popen[str]":
    try:
        return subprocess.Popen(  # noqa: S603 - our own module
            command, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    except OSError as error:
        raise Broken(
            f"{command[0]} does not start: {error.strerror}. REDRAFT_TRAIN_LAUNCHER names it."
        ) from error


def _told(process: "subprocess.Popen[str]") -> Iterator[dict[str, Any]]:
    """What the first process says, line by line, among what libraries print."""
    for line in process.stdout or ():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict):
            yield told


def _say(**told: Any) -> None:
    if os.environ.get("RANK", FIRST) == FIRST:
        print(json.dumps(told), flush=True)  # noqa: T201 - the parent reads it


def _say_step(step: int, total: int, metrics: Mapping[str, float], part: str = "") -> None:
    _say(step=step, total=total, metrics=dict(metrics), part=part)


def _read(file: Path) -> tuple[str, TrainJob]:
    given = read_json(file)
    places: dict[str, Any] = {name: given[name] and Path(given[name]) for name in PLACES}
    rows = read_rows(file.with_name(ROWS))
    job = TrainJob(**places, rows=rows, seed=given["seed"], settings=given["settings"])
    return given["trainer"], replace(job, progress=_say_step)


def main() -> None:
    """One of the processes."""
    trainer, job = _read(Path(sys.argv[1]))
    try:
        _say(result=train(trainer, job, processes=1))
    except Exception as error:
        _say(error=f"{type(error).__name__}: {error}")
        raise


if __name__ == "__main__":
    main()
