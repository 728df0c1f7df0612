"""Where vLLM is installed: an environment of its own, as it needs other versions than Redraft."""

import importlib.util
import sys
from pathlib import Path

from serve.engines.base import EngineError, refuse_quantization

LOG = "vllm.log"  # in REDRAFT_HOME, of the vLLM that `redraft up` runs
FOLDER = ".venv-vllm"  # what `make vllm` fills, beside Redraft's own environment


def find_vllm_python(told: str = "") -> Path | None:
    """The Python that starts vLLM: the one that was `told`, else one found here. None: none."""
    if told:
        return Path(told).expanduser()
    beside = Path(sys.prefix).parent / FOLDER / "bin" / "python"
    if beside.is_file():
        return beside
    return Path(sys.executable) if importlib.util.find_spec("vllm") else None


def require_vllm_python(told: str = "") -> Path:
    """The same. Raises EngineError that says how to get one."""
    python = find_vllm_python(told)
    if python is None:
        raise EngineError(
            "Engine vllm needs vLLM, which is not installed here. `make vllm` puts it into "
            f"{FOLDER}; or name a Python that has it in REDRAFT_VLLM_PYTHON, or a vLLM that runs "
            "elsewhere in REDRAFT_ENGINE_URL."
        )
    if not python.is_file():
        raise EngineError(f"REDRAFT_VLLM_PYTHON {told!r} is no file. Name a Python with vLLM.")
    return python


def refuse_bitsandbytes(quantization: str) -> None:
    """Raises Unsupported: vLLM has forms and options of its own."""
    refuse_quantization(
        "vllm",
        quantization,
        "vLLM reads its own forms (a quantised model as REDRAFT_MODEL, or `--quantization` in "
        "REDRAFT_VLLM_ARGS)",
    )


def fits_here() -> bool:
    """Whether vLLM is the fastest engine here: it is installed, and there is a CUDA device."""
    if find_vllm_python() is None:
        return False
    import torch  # seconds: only where the answer depends on it

    return bool(torch.cuda.is_available())
