"""What can go wrong with the record. Each text says what, why and what next, fit for the user."""


class RecordError(Exception):
    """The base of all errors of the record; its text can be shown to the user as it is."""


class NotFound(RecordError):
    """No such object, or it belongs to somebody else (the two are not told apart)."""

    def __init__(self, what: str, id: object) -> None:
        self.what, self.id = what, id
        super().__init__(
            f"There is no {what} {_short(id)}. Check the id; another user's {what} is not visible "
            "here."
        )


class Invalid(RecordError):
    """A value that the record refuses; `param` names the field."""

    def __init__(self, param: str, message: str) -> None:
        self.param = param
        super().__init__(message)


class Forbidden(RecordError):
    """The user's role is not enough for this."""


class Conflict(RecordError):
    """The request was understood, but what is recorded already stands against it."""


class Overtaken(Conflict):
    """Another champion serves than the one that an adapter was judged against."""


class DatabaseUnavailable(RecordError):
    """The database cannot be opened, read or written."""


class Unstorable(RecordError):
    """The database refuses a value: it is too long, out of range or malformed."""


class DatabaseBehind(RecordError):
    """The database has not been migrated to what this code needs."""

    def __init__(self, found: str | None, needed: str) -> None:
        self.found, self.needed = found, needed
        state = f"is at revision {found}" if found else "has no tables yet"
        super().__init__(
            f"The database {state}; this version of Redraft needs {needed}. Run `redraft db "
            "migrate`."
        )


class DatabaseTooNew(RecordError):
    """The database was migrated by a later version of Redraft."""

    def __init__(self, found: str, known: str) -> None:
        self.found, self.known = found, known
        super().__init__(
            f"The database is at revision {found}, which this version of Redraft does not know "
            f"(its newest is {known}): "
            "a later version has migrated it. Nothing was changed. Upgrade Redraft, or point "
            "REDRAFT_DATABASE_URL at "
            "another database, or restore the backup from before the migration."
        )


def _short(id: object, limit: int = 80) -> str:
    text = str(id).encode("utf-8", "replace").decode()  # the answer has to be sent
    return text if len(text) <= limit else text[:limit] + "…"
