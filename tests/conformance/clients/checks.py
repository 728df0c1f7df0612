"""What each file of clients does with its checks: run them all and print what broke, as JSON."""

import json
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

URL, MODEL, ENGINE = sys.argv[1:]
SAID = "/say one two"


def check_said(text: str) -> None:
    """Engine echo says what it is told; of a model any text will do."""
    assert text == "one two" if ENGINE == "echo" else text, text


def run(found: Mapping[str, Callable[[], Any]]) -> None:
    """Run the checks; a line of JSON for each."""
    for name, check in found.items():
        broke = None
        try:
            check()
        except Exception as error:  # the other checks still run
            traceback.print_exc()
            broke = f"{type(error).__name__}: {str(error)[:300]}"
        print(json.dumps({"check": name, "broke": broke}), flush=True)
