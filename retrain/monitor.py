"""The canary's monitor: stops one that is worse, and makes one champion that has earned it.

Each look judges anew by what is recorded, so a look that was missed, or that a crash cut off, is
made up for by the next one.
"""

from feedback import adapters
from feedback.adapters import Canary
from feedback.database import Database
from feedback.votes import canary_votes
from retrain import deploy
from retrain.evaluate.sequential import Evidence, weigh
from serve.settings import Settings


def look(database: Database) -> tuple[Canary, Evidence] | None:
    """The canary and what the votes say of it; None while there is none."""
    with database.reading() as session:
        canary = adapters.canary(session)
        if canary is None:
            return None
        return canary, weigh(canary_votes(session, canary), canary.share)


def waiting(settings: Settings, evidence: Evidence) -> str | None:
    """Why a canary that has its votes is not made champion; None for no reason."""
    least, people = settings.min_users, evidence.canary_users
    if evidence.canary_votes < settings.canary_votes or evidence.vouched or people >= least:
        return None
    return (
        f"waits: its {evidence.canary_votes} votes are of {people} of {least} users that it takes "
        "(REDRAFT_MIN_USERS); a vote of another one, or `redraft adapters promote`, makes it "
        "champion"
    )


def judge_canary(settings: Settings, database: Database) -> str | None:
    """Stop it, promote it or leave it, by its votes so far; gives what was done.

    Raises DeployError, and Conflict when somebody else decided meanwhile.
    """
    found = look(database)
    if found is None:
        return None
    canary, evidence = found
    numbers = evidence.describe()
    if evidence.worse:
        reason = f"canary stopped, worse than the champion: {numbers}"
        facts = evidence.as_dict()
        return f"{deploy.retire(settings, database, canary.name, reason, facts)}: {reason}"
    if evidence.canary_votes >= settings.canary_votes and not waiting(settings, evidence):
        reason = f"canary not worse than the champion: {numbers}"
        how = deploy.promote(
            settings, database, canary.name, deploy.MONITOR, reason, evidence.as_dict(), "canary"
        )
        return f"{how}: {reason}"
    return None
