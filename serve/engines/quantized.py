"""Base weights in 8 or 4 bits by bitsandbytes, and adapters that are applied beside them.

Merging would round the adapter away, and a copy of the weights for each is what quantising saves.
"""

import importlib.util
import itertools
import weakref
from pathlib import Path
from typing import Any

import torch

from serve.engines.base import EngineError
from serve.engines.turns import FairLock
from serve.engines.weights import unusable


def load_options(quantization: str, device: str) -> dict[str, Any]:
    """How transformers loads weights in that form. Raises EngineError without bitsandbytes."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise EngineError(
            f"REDRAFT_QUANTIZATION={quantization} needs bitsandbytes, which is not installed. Run "
            "`pip install 'redraft[quantization]'`, or leave the setting out."
        )
    from transformers import BitsAndBytesConfig

    if quantization == "int8":
        dtype, config = torch.float16, BitsAndBytesConfig(load_in_8bit=True)
    else:
        dtype = torch.bfloat16
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    return {"dtype": dtype, "quantization_config": config, "device_map": {"": device}}


class Quantized:
    """One module that computes with any of its adapters; calls of its views hold `lock`."""

    def __init__(self, module: Any, lock: FairLock) -> None:
        self.module = module
        self.base = View(self, None)
        self._lock = lock
        self._peft: Any = None
        self._active: str | None = None
        self._names = (f"adapter{number}" for number in itertools.count())
        self._unused: list[str] = []

    def load(self, name: str, path: Path) -> "View":
        """The adapter's view of the module. Raises AdapterError."""
        from peft import PeftConfig, get_peft_model

        own = next(self._names)
        with self._lock:
            try:
                if self._peft is None:
                    config = PeftConfig.from_pretrained(str(path))
                    self._peft = get_peft_model(self.module, config, own)
                self._peft.load_adapter(str(path), own)
                self._peft.eval()
                self._forget_unused(own)
            except Exception as error:  # PEFT, safetensors and torch each raise their own kinds
                self._unused.append(own)
                raise unusable(name, path, error) from error
            finally:
                if self._peft is not None:
                    self._switch(None)
        view = View(self, own)
        # Answers that are being written hold the view; what nobody holds goes at the next load.
        weakref.finalize(view, self._unused.append, own)
        return view

    def select(self, adapter: str | None) -> None:
        """Make the module compute with this adapter; the caller holds the lock."""
        if adapter != self._active:
            self._switch(adapter)

    def _switch(self, adapter: str | None) -> None:
        if adapter is None:
            self._peft.base_model.disable_adapter_layers()
        else:
            self._peft.base_model.enable_adapter_layers()
            self._peft.set_adapter(adapter)
        self._active = adapter

    def _forget_unused(self, loaded: str) -> None:
        self._switch(loaded)  # PEFT goes on naming a deleted adapter that was active
        while self._unused:
            name = self._unused.pop()
            if name in self._peft.peft_config:
                self._peft.delete_adapter(name)


class View:
    """What decoding calls: the module with one adapter, or with none."""

    def __init__(self, owner: Quantized, adapter: str | None) -> None:
        self._owner, self._adapter = owner, adapter
        self.config, self.device = owner.module.config, owner.module.device

    def __call__(self, **inputs: Any) -> Any:
        self._owner.select(self._adapter)
        return self._owner.module(**inputs)
