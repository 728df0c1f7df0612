"""What a training takes beside a busy processor, with torch's own waiting and with Redraft's.

    python bench/crowded.py [--steps 10] [--home ~/.redraft]

Threads of GNU OpenMP spin for milliseconds before they sleep. A training has two teams of them, one
forward and one backward: the idle one keeps the processor from the other, or from a server.
Each row trains the built-in model with the project's SFT trainer in a process of its own, alone or
beside one or as many busy processes as cores; printed are the seconds of a step (the median, the
first left out), and the ratio to torch's own waiting in the same company. Beside others a training
that spins is quicker only by what it takes from them.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serve.cli import SPIN

WAITING = {"torch's own": {}, "Redraft's": SPIN}
ROWS = 64
BUSY = "while True: pass"


def train(base: Path, steps: int) -> None:
    """Print the seconds of each step, as JSON."""
    from retrain.job import TrainJob
    from retrain.trainers import sft

    times = [time.monotonic()]

    def tick(step: int, total: int, metrics: Any, part: str = "") -> None:
        times.append(time.monotonic())

    rows = [
        {
            "prompt": [{"role": "user", "content": f"What is the refund window of shop {i}?"}],
            "completion": [{"role": "assistant", "content": f"It is {i} days " + "or more " * 10}],
        }
        for i in range(ROWS)
    ]
    settings = {"epochs": steps / (ROWS / 8), "min_steps": steps, "replay": 0}
    with tempfile.TemporaryDirectory() as scratch:
        job = TrainJob(base, Path(scratch) / "adapter", rows, settings=settings, progress=tick)
        sft.train(job)
    seconds = [after - before for before, after in itertools.pairwise(times[1:])]
    sys.stdout.write(json.dumps(seconds) + "\n")


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes that never rest."""
    running = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def measured(base: Path, steps: int, waiting: dict[str, str]) -> float:
    """Seconds of a step."""
    own = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", *SPIN)}
    command = [sys.executable, __file__, "--base", str(base), "--steps", str(steps)]
    done = subprocess.run(command, env=own | waiting, stdout=subprocess.PIPE, text=True, check=True)
    seconds: list[float] = json.loads(done.stdout.splitlines()[-1])
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--home", type=Path, default=Path.home() / ".redraft")
    parser.add_argument("--base", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.base:
        return train(given.base, given.steps)
    from serve.engines.builtin import builtin_folder

    base = builtin_folder(given.home)
    sys.stdout.write("| beside | waiting | seconds a step | ratio |\n| --- | --- | --- | --- |\n")
    for others in (0, 1, os.cpu_count() or 1):
        first = 0.0
        for name, waiting in WAITING.items():
            with busy(others):
                found = measured(base, given.steps, waiting)
            first = first or found
            row = f"| {others} busy | {name} | {found:.2f} | {first / found:.1f} |\n"
            sys.stdout.write(row)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
