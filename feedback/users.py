"""People, their roles, passwords and API keys."""

import hashlib
import secrets
from collections.abc import Sequence

from sqlalchemy import bindparam, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from feedback import fields, passwords
from feedback.errors import Conflict, Invalid, NotFound
from feedback.ids import new_id, plausible
from feedback.moments import now
from feedback.tables import NAME_LENGTH, ApiKey, LoginSession, User

LOCAL = "local"
ROLES = ("user", "reviewer", "admin")
NAMED = select(User).where(User.name == bindparam("name"))  # made once: every request asks it


def local_user(session: Session) -> User:
    """The user of a request without a key, an admin; made when missing, in a writing session."""
    return user_named(session, LOCAL) or _made(session, LOCAL, "admin")


def add_user(session: Session, name: str, role: str = "user") -> User:
    """A new user; raises Invalid, or Conflict when the name is taken."""
    name = fields.text("name", name, NAME_LENGTH).strip()
    if user_named(session, name):
        raise Conflict(
            f"There is a user {name!r} already. Choose another name, or `redraft user role` to "
            "change the role."
        )
    return _made(session, name, _role(role))


def list_users(session: Session) -> Sequence[User]:
    """All users by name."""
    return session.scalars(select(User).order_by(User.name)).all()


def set_role(session: Session, name: str, role: str) -> User:
    """Give the user a role; raises NotFound, Invalid."""
    user = known_user(session, name)
    user.role = _role(role)
    return user


def set_consent(session: Session, name: str, given: bool) -> User:
    """Whether the user lets later snapshots have what they wrote and said; raises NotFound."""
    user = known_user(session, name)
    user.consent = given
    return user


def set_password(session: Session, name: str, password: object) -> User:
    """Give the user a password and end all sessions under the old. Raises NotFound, Invalid."""
    user = known_user(session, name)
    user.password = passwords.hash_password(password)
    session.execute(delete(LoginSession).where(LoginSession.user_id == user.id))
    return user


def new_key(session: Session, name: str) -> str:
    """A new API key of the user, who is made when new. Shown once: only its digest is kept."""
    name = fields.text("name", name, NAME_LENGTH).strip()
    user = user_named(session, name) or _made(session, name, "admin" if name == LOCAL else "user")
    key = "rd-" + secrets.token_urlsafe(32)
    session.add(ApiKey(id=new_id("key"), user_id=user.id, digest=digest(key), hint=key[-6:]))
    session.flush()
    return key


def list_keys(session: Session) -> Sequence[tuple[ApiKey, str]]:
    """The keys that open, with the names of their users, by name and age."""
    query = select(ApiKey, User.name).join(User, User.id == ApiKey.user_id)
    query = query.where(ApiKey.revoked_at.is_(None)).order_by(User.name, ApiKey.created_at)
    return [(row[0], row[1]) for row in session.execute(query)]


def revoke_key(session: Session, id: str) -> ApiKey:
    """Make the key open no more; raises NotFound."""
    key = session.get(ApiKey, plausible(id))
    if key is None:
        raise NotFound("key", id)
    key.revoked_at = key.revoked_at or now()
    return key


def user_of_key(session: Session, key: str) -> User | None:
    """The user whom the key belongs to."""
    query = select(User).join(ApiKey, ApiKey.user_id == User.id)
    return session.scalar(query.where(ApiKey.digest == digest(key), ApiKey.revoked_at.is_(None)))


def user_named(session: Session, name: str) -> User | None:
    """The user of that name, None when there is none."""
    return session.scalar(NAMED, {"name": name})


def known_user(session: Session, name: str) -> User:
    """The user of that name; raises NotFound."""
    user = user_named(session, name)
    if user is None:
        raise NotFound("user", name)
    return user


def _made(session: Session, name: str, role: str) -> User:
    user = User(id=new_id("usr"), name=name, role=role)
    try:
        with session.begin_nested():
            session.add(user)
    except IntegrityError as error:  # somebody else made it meanwhile
        if found := user_named(session, name):
            return found
        raise Conflict(f"The user {name!r} cannot be made. Try again.") from error
    return user


def _role(role: str) -> str:
    if role not in ROLES:
        raise Invalid("role", f"role is {role!r}; it is one of {', '.join(ROLES)}.")
    return role


def digest(key: str) -> str:
    """What is kept of a random key or token."""
    # A plain hash is enough for 256 random bits; slow hashes are for passwords.
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
