"""The user had another answer written in the place of one: never a verdict.

{kind: "regenerated", completion_id}
"""

from feedback.kinds import IMPLICIT
from feedback.kinds._behaviour import REQUIRED, SCHEMA, outcomes, validate

__all__ = ["GROUP", "REQUIRED", "SCHEMA", "outcomes", "validate"]

GROUP = IMPLICIT
