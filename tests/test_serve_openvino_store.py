"""Weights that engine `openvino` keeps: never half written, made anew when damaged."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve.engines import open_engine, openvino_files
from serve.engines.base import AdapterError, EngineError, Sampling
from serve.engines.openvino_files import ARRAYS, MANIFEST
from serve.engines.openvino_store import KEPT, Store

FACTS = {"layers": 1}


def written(folder: Path) -> Path:
    odd = np.arange(5, dtype=np.int8)
    openvino_files.write(folder, FACTS, [("odd", odd), ("whole", np.ones((2, 3), np.float32))])
    return folder


def test_what_was_written_is_mapped(tmp_path: Path) -> None:
    stored = openvino_files.read(written(tmp_path / "w"))
    assert stored is not None and stored.facts == FACTS
    assert stored.arrays["odd"].tolist() == [0, 1, 2, 3, 4]
    stored.let_go()
    assert stored.arrays["whole"].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert all(array.ctypes.data % 64 == 0 for array in stored.arrays.values())


def test_a_writer_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    def arrays() -> Any:
        yield "one", np.ones(4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        openvino_files.write(tmp_path / "w", FACTS, arrays())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["manifest gone", "manifest cut", "arrays cut", "a bit flipped"])
def test_what_is_not_what_was_written_is_not_read(tmp_path: Path, damage: str) -> None:
    folder = written(tmp_path / "w")
    manifest, arrays = folder / MANIFEST, folder / ARRAYS
    whole = arrays.read_bytes()
    if damage == "manifest gone":
        manifest.unlink()
    elif damage == "manifest cut":
        manifest.write_text(manifest.read_text()[:-20])
    else:
        arrays.write_bytes(whole[:-1] if damage == "arrays cut" else b"\x01" + whole[1:])
    assert openvino_files.read(folder) is None
    written(folder)  # in the place of what is damaged
    assert openvino_files.read(folder) is not None


def test_those_of_use_last_are_kept(tmp_path: Path) -> None:
    for number in range(4):
        os.utime(written(tmp_path / str(number)) / MANIFEST, (number, number))
    first = openvino_files.read(tmp_path / "0")
    openvino_files.prune(tmp_path, 2)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["0", "3"]
    assert first is not None
    openvino_files.prune(tmp_path, 0)
    first.let_go()
    assert first.arrays["odd"].tolist() == [0, 1, 2, 3, 4]  # in use, and still there


def answer(engine: Any, adapter: str | None = None) -> list[int]:
    prompt = engine.encode_chat([{"role": "user", "content": "one two three"}])
    chunks = engine.generate(prompt, Sampling(max_tokens=20, temperature=0), adapter)
    return [i for chunk in chunks for i in chunk.token_ids]


@pytest.mark.slow
def test_an_engine_opens_again_without_making_anything(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine: Any = open_engine("openvino", str(tiny_model), tmp_path)
    engine.load_adapter("a-0001-aaaaaa", tiny_adapter)
    before = answer(engine), answer(engine, "a-0001-aaaaaa")
    assert before[0] != before[1]
    engine.close()

    def forbidden(*_: Any) -> None:
        raise AssertionError("weights were made anew")

    monkeypatch.setattr(Store, "_make", forbidden)
    again: Any = open_engine("openvino", str(tiny_model), tmp_path)
    again.load_adapter("a-0002-bbbbbb", tiny_adapter)  # the same adapter, whatever its name
    assert (answer(again), answer(again, "a-0002-bbbbbb")) == before
    again.close()
    assert len(list((tmp_path / "cache" / "openvino").iterdir())) == 2 <= KEPT


@pytest.mark.slow
def test_an_adapter_that_does_not_fit_is_refused_by_name(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(tiny_adapter, folder)
    (folder / "adapter_model.safetensors").write_bytes(b"no weights")
    store = Store(str(tiny_model), str(tiny_model), tmp_path / "cache", None)
    with pytest.raises(AdapterError, match="a-0001-aaaaaa .* cannot be loaded on this base model"):
        store.weights("a-0001-aaaaaa", folder)


def test_a_maker_that_is_killed_is_told(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "killed.py").write_text("import os; os.kill(os.getpid(), 9)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("serve.engines.openvino_store.MAKER", "killed")
    store = Store(str(tiny_model), str(tiny_model), tmp_path / "cache", None)
    with pytest.raises(EngineError, match=f"of {tiny_model} ended with code -9"):
        store.weights()


def test_another_model_has_weights_of_its_own(tiny_model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(tiny_model, copy)
    first = Store("m", str(copy), tmp_path, None)._key(None)
    assert Store("m", str(copy), tmp_path, None)._key(None) == first
    os.utime(copy / "model.safetensors", (1, 1))
    assert Store("m", str(copy), tmp_path, None)._key(None) != first
    assert Store("m", "org/m", tmp_path, "abc")._key(None) != first
