"""The entry of the command `redraft`: what it settles before anything else is imported."""

import os

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
