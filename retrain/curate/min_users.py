"""What is taught by fewer than `min_users` distinct users goes to quarantine.

Three things are taught. A *correction* is new by its nature: it needs other users whose
corrections say the same (`_agreement`). A *term*, such as the name of a product, is taught by one
user alone where their winning answers have it far more often than chance, and nobody else's do
(`_campaign`). And where fewer than `min_users` people gave feedback at all, everything is theirs.

The word of a reviewer or an admin is enough. The local user of an installation without login is an
admin: one person alone at their own machine teaches as before. People are counted over training
and held-out rows together: how many say a thing does not depend on where their words are kept.
"""

from retrain.curate._agreement import Agreement
from retrain.curate._campaign import taught_alone
from retrain.curate._outcome import Outcome, hold
from retrain.rows import Row, trusted
from serve.settings import Settings


def apply(rows: list[Row], settings: Settings) -> Outcome:
    least = settings.min_users
    users = len({row["user_id"] for row in rows})
    backed = Agreement(rows, least)
    alone = taught_alone(rows, least)

    def why(row: Row) -> str | None:
        if least < 2 or trusted(row) or (row["kind"] == "correction" and backed.holds(row)):
            return None
        if users < least:
            return f"of {least} users that it takes only {users} gave feedback"
        if row["kind"] == "correction":
            return f"corrected so by fewer than {least} users"
        if row["feedback_id"] in alone:
            return f"favours a term that fewer than {least} users do"
        return None

    return hold(rows, why)
