"""REDRAFT_HOME: made when missing, proven writable before anything starts."""

import tempfile
from pathlib import Path

from serve.processes import ProcessError


def prepare_home(home: Path) -> Path:
    """The folder, existing and writable. Raises ProcessError that names it."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)  # people's words are in it
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise ProcessError(
            f"REDRAFT_HOME {home} cannot be written: {error.strerror}. "
            "Make it writable for this user, or set REDRAFT_HOME to another folder."
        ) from error
    return home
