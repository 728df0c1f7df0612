"""OpenVINO itself, without its telemetry: import it from here."""

import sys
from typing import Any

# `import openvino` reports to Google Analytics, without asking, unless this package is missing.
_modules: dict[str, Any] = sys.modules
_modules.setdefault("openvino_telemetry", None)

import openvino as ov  # noqa: E402
from openvino import opset15 as op  # noqa: E402
from openvino.op import _PagedAttentionExtension as PagedAttention  # noqa: E402

__all__ = ["PagedAttention", "op", "ov"]
