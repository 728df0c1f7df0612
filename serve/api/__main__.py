"""`python -m serve.api`: the API alone."""

import signal
import sys

from feedback.errors import RecordError
from serve.api.server import serve
from serve.engines.base import EngineError
from serve.home import prepare_home
from serve.logs import log_to_stderr
from serve.processes import ProcessError, end_with_parent
from serve.settings import SettingsError, load_settings


def main() -> int:
    log_to_stderr("api")
    end_with_parent()
    # Waitress ends its loop on SystemExit, which lets `serve` close the engine and the database.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        settings = load_settings()
        log_to_stderr("api", settings.log)
        prepare_home(settings.home)
        serve(settings)
    except (SettingsError, ProcessError, RecordError, EngineError) as error:
        print(f"redraft: {error}", file=sys.stderr)  # noqa: T201 - the last line of a process
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
