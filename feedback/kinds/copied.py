"""The user copied an answer: never a verdict.

{kind: "copied", completion_id}
"""

from feedback.kinds import IMPLICIT
from feedback.kinds._behaviour import REQUIRED, SCHEMA, outcomes, validate

__all__ = ["GROUP", "REQUIRED", "SCHEMA", "outcomes", "validate"]

GROUP = IMPLICIT
