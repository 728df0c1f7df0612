"""`python -m serve.engines.openvino_maker`: makes the weights that engine `openvino` maps.

A job as JSON on standard input. What the engine must be told is JSON, the last line of the output.
"""

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from serve.engines import openvino_files
from serve.engines.base import AdapterError, EngineError

REFUSED = 3  # exit code: it cannot be made, and the output says why
PATIENT = 5  # how much the making gives way to answers (`nice`)


@dataclass(frozen=True)
class Job:
    """Weights of a base model, with an adapter where one is named, to be put into `folder`."""

    model: str
    source: str
    folder: str
    name: str = ""
    adapter: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def make(job: Job) -> None:
    """Write the weights. Raises EngineError."""
    if job.adapter:
        _give_way()
    from serve.engines import openvino_pack, weights as hf

    module = hf.load_weights(job.model, job.source)
    if job.adapter:
        module = hf.merge(module, job.name, Path(job.adapter))
    folder = Path(job.folder)
    try:
        openvino_files.write(folder, openvino_pack.facts(module), openvino_pack.arrays(module))
    except OSError as error:
        raise EngineError(
            f"The weights of {job.name or job.model} cannot be kept in {folder.parent}: "
            f"{error.strerror}. Make room there, or set REDRAFT_HOME to another folder."
        ) from error


def _give_way() -> None:
    """Let answers go first: this process gets what they leave, and one core of it."""
    if hasattr(os, "nice"):
        os.nice(PATIENT)
    os.environ["OMP_NUM_THREADS"] = "1"


def main() -> int:
    try:
        make(Job(**json.load(sys.stdin)))
    except EngineError as error:
        told = {"adapter": isinstance(error, AdapterError), "message": str(error)}
        print(json.dumps(told))  # noqa: T201 - what the engine reads
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
