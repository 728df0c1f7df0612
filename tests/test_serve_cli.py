"""The entry of the command `redraft`: what it settles before anything else is imported."""

import os
import subprocess
import sys

import pytest

from serve.cli import SPIN, share_processor

CHOICES = ("OMP_WAIT_POLICY", *SPIN)


@pytest.mark.parametrize(
    "own, expected",
    [
        ({}, SPIN),
        ({"GOMP_SPINCOUNT": "9"}, {"GOMP_SPINCOUNT": "9"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
    ],
)
def test_threads_spin_briefly_unless_the_user_says_otherwise(
    own: dict[str, str], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CHOICES:
        monkeypatch.delenv(name, raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    share_processor()
    assert {name: os.environ[name] for name in CHOICES if name in os.environ} == expected


def test_a_child_says_nothing_of_what_a_library_warns_programmers_of() -> None:
    child = (
        "import warnings; tell = warnings.warn_explicit;"
        "tell('for programmers', FutureWarning, 'f.py', 1, 'transformers.modeling_utils');"
        "tell('for everybody', FutureWarning, 'f.py', 2, 'transformers.other')"
    )
    parent = (
        "import subprocess, sys; from serve.cli import quiet_libraries; quiet_libraries();"
        f"subprocess.run([sys.executable, '-c', {child!r}], check=True);"
        f"exec({child!r})"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"}
    done = subprocess.run(
        [sys.executable, "-c", parent], env=environment, capture_output=True, text=True, check=True
    )
    assert "for programmers" not in done.stderr
    assert done.stderr.count("for everybody") == 2
