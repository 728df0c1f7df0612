"""What to do while the database is away: wait, and begin the piece of work anew."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from feedback.errors import DatabaseUnavailable

log = logging.getLogger("redraft")

WAITS = (2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0)  # seconds; some four minutes in all
Done = TypeVar("Done")


def patiently(work: Callable[[], Done], waits: Sequence[float] = WAITS) -> Done:
    """What `work`, which can begin anew, gives.

    Raises DatabaseUnavailable when that stays so for all the waits.
    """
    for wait in waits:
        try:
            return work()
        except DatabaseUnavailable as error:
            log.warning("%s Trying again in %g s.", error, wait)
            time.sleep(wait)
    return work()
