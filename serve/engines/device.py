"""Which device this process computes on, as the operator says."""

import os

from serve.engines.base import EngineError


def settle_device(asked: str) -> None:
    """Hide the GPUs from this process and its children for "cpu", prove that there is one for
    "cuda"; "auto" takes what there is. Call it before anything is computed. Raises EngineError."""
    if asked == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif asked == "cuda":
        _require_gpu()


def _require_gpu() -> None:
    import torch

    if torch.cuda.is_available():
        return
    why = "finds none" if torch.version.cuda else "is a build for the CPU alone"
    raise EngineError(
        f"REDRAFT_DEVICE is cuda, but there is no GPU to compute on: PyTorch {torch.__version__} "
        f"{why}. Look at `nvidia-smi`, install PyTorch for CUDA, or leave REDRAFT_DEVICE out to "
        "compute on the CPU."
    )
