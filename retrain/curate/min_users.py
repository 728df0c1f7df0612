"""What is taught by fewer than `min_users` distinct users goes to quarantine.

Three things are taught. A *correction* is new by its nature: it needs other users whose
corrections say the same (`_agreement`). A *term*, such as the name of a product, is taught by one
user alone where their winning answers have it far more often than chance, and nobody else's do
(`_campaign`), also where it hangs on a correction that others back. And where fewer than
`min_users` people gave feedback at all, everything is theirs.

The word of a reviewer or an admin is enough. The local user of an installation without login is an
admin: one person alone at their own machine teaches as before. People are counted over training
and held-out rows together: how many say a thing does not depend on where their words are kept.
"""

from collections.abc import Mapping

from retrain.curate._agreement import Agreement
from retrain.curate._campaign import taught_alone
from retrain.curate._outcome import Outcome, hold
from retrain.rows import Row, trusted
from retrain.terms import Terms
from serve.settings import Settings


def apply(rows: list[Row], settings: Settings) -> Outcome:
    least = settings.min_users
    users = len({row["user_id"] for row in rows})
    backed = Agreement(rows, least)
    alone = taught_alone(rows, least)

    def why(row: Row) -> str | None:
        corrects = row["kind"] == "correction"
        if least < 2 or trusted(row):
            return None
        if users >= least and _favours(row, alone, backed):
            return f"favours a term that fewer than {least} users do"
        if corrects and backed.holds(row):
            return None
        if users < least:
            return f"of {least} users that it takes only {users} gave feedback"
        return f"corrected so by fewer than {least} users" if corrects else None

    return hold(rows, why)


def _favours(row: Row, alone: Mapping[str, Terms], backed: Agreement) -> bool:
    """Whether the row brings in a term of its user's own; in a correction, one no backer has."""
    found = alone.get(row["feedback_id"])
    if found and row["kind"] == "correction":
        found = backed.unsaid(row, found)
    return bool(found)
