"""The weights that engine `openvino` has made ready before, and the process that makes them.

Merging an adapter and rounding to 8 bits take seconds of processor and twice the memory of the
weights. They happen in a process of their own, at low priority while others are answered, and are
kept: what the serving process does is to map a file and compile it.
"""

import hashlib
import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from serve.engines import openvino_files
from serve.engines.base import AdapterError, EngineError
from serve.engines.openvino_files import Stored
from serve.engines.openvino_maker import REFUSED, Job

log = logging.getLogger("redraft")

VERSION = 1  # of facts and arrays: raise it when they change
KEPT = 6  # base, champion, canary, rewriter, and what a rollback may want
MAKER = "serve.engines.openvino_maker"  # a process of its own
FILES = ("*.safetensors", "*.bin", "config.json")


class Store:
    """Weights of one base model, by adapter, in `folder`."""

    def __init__(self, model: str, source: str, folder: Path, commit: str | None) -> None:
        """`commit`: of a model from a hub, whose files then need no look."""
        self._model, self._source, self._folder = model, source, folder
        self._base = commit or _traits(Path(source))
        self._making = threading.Lock()  # one after another: each takes the memory of a model

    def weights(self, name: str = "", adapter: Path | None = None) -> Stored:
        """The base model's, or with an adapter merged; made where need be. Raises EngineError."""
        folder = self._folder / self._key(adapter)
        with self._making:
            stored = openvino_files.read(folder)
            if stored is None:
                self._make(folder, name, adapter)
                stored = openvino_files.read(folder)
            openvino_files.prune(self._folder, KEPT)
        if stored is None:
            raise EngineError(
                f"The weights that were just written to {folder} read otherwise. Check the disk of "
                "REDRAFT_HOME, and try again."
            )
        return stored

    def _make(self, folder: Path, name: str, adapter: Path | None) -> None:
        log.info("Rounding the weights of %s to 8 bits (once) …", name or self._model)
        job = Job(self._model, self._source, str(folder), name, str(adapter or ""))
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", MAKER],
            input=job.to_json(),
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        if done.returncode == REFUSED:
            told = json.loads(done.stdout.splitlines()[-1])
            raise (AdapterError if told["adapter"] else EngineError)(told["message"])
        if done.returncode:
            raise EngineError(
                f"The process that prepares the weights of {name or self._model} ended with code "
                f"{done.returncode} (-9 is often a machine without memory). What it said is in the "
                "log above; free what is short, and try again."
            )

    def _key(self, adapter: Path | None) -> str:
        files = sorted(adapter.glob("adapter_*")) if adapter else []
        digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
        named = json.dumps([VERSION, self._model, self._base, digests])
        return hashlib.sha256(named.encode()).hexdigest()[:32]


def _traits(folder: Path) -> list[Any]:
    """What changes when the files of a model do."""
    files = sorted(file for pattern in FILES for file in folder.glob(pattern))
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
