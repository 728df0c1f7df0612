"""The user stopped or left an answer before its end: never a verdict.

{kind: "abandoned", completion_id}
"""

from feedback.kinds import IMPLICIT
from feedback.kinds._behaviour import REQUIRED, SCHEMA, outcomes, validate

__all__ = ["GROUP", "REQUIRED", "SCHEMA", "outcomes", "validate"]

GROUP = IMPLICIT
