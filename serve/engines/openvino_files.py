"""Weights of engine `openvino` on disk: one file of arrays that is mapped, and its manifest."""

import hashlib
import json
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ARRAYS, MANIFEST = "arrays.bin", "manifest.json"
ALIGNED = 64  # bytes, so that the mapped arrays can be computed with in place


@dataclass(frozen=True)
class Stored:
    """Facts and arrays of openvino_pack; the arrays are the file's own pages."""

    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]
    pages: mmap.mmap

    def let_go(self) -> None:
        """Give the memory of pages that were read back; who reads them again gets them anew."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.pages.madvise(mmap.MADV_DONTNEED)


def write(folder: Path, facts: dict[str, Any], arrays: Iterable[tuple[str, np.ndarray]]) -> None:
    """Make `folder`, whole or not at all; one that is there is replaced."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".writing-") as work:
        made = Path(work) / folder.name
        made.mkdir()
        with (made / ARRAYS).open("wb") as file:
            index, digest = _append(file, arrays)
        manifest = {"facts": facts, "arrays": index, "sha256": digest}
        # Written last and moved whole, so its existence means the folder is complete.
        (made / MANIFEST).write_text(json.dumps(manifest))
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(made, folder)


def read(folder: Path) -> Stored | None:
    """What was written there; None where nothing is, or it is not what was written."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        with (folder / ARRAYS).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != manifest["sha256"]:
                return None
            # Copy on write: OpenVINO takes only memory that it might write to, and never does.
            pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        arrays = {
            name: np.ndarray(shape, kind, pages, offset)
            for name, (kind, shape, offset) in manifest["arrays"].items()
        }
        os.utime(folder / MANIFEST)  # when it was last of use
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Stored(manifest["facts"], arrays, pages)


def prune(parent: Path, keep: int) -> None:
    """Remove all folders but the `keep` that were of use last; mapped pages stay until let go."""
    manifests = sorted(parent.glob(f"*/{MANIFEST}"), key=_last_use, reverse=True)
    for manifest in manifests[keep:]:
        shutil.rmtree(manifest.parent, ignore_errors=True)


def _last_use(manifest: Path) -> float:
    try:
        return manifest.stat().st_mtime
    except OSError:  # another process has pruned it
        return 0.0


def _append(file: Any, arrays: Iterable[tuple[str, np.ndarray]]) -> tuple[dict[str, Any], str]:
    digest, index, end = hashlib.sha256(), {}, 0
    for name, array in arrays:
        data = np.ascontiguousarray(array).tobytes()
        data += bytes(-len(data) % ALIGNED)
        index[name] = (array.dtype.str, array.shape, end)
        file.write(data)
        digest.update(data)
        end += len(data)
    return index, digest.hexdigest()
