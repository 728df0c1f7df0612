"""People, their roles and their API keys."""

import hashlib
import secrets
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from feedback import fields
from feedback.errors import Conflict, Invalid, NotFound
from feedback.ids import new_id
from feedback.tables import NAME_LENGTH, ApiKey, User

LOCAL = "local"
ROLES = ("user", "reviewer", "admin")


def local_user(session: Session) -> User:
    """The user of a request without a key, an admin; made when missing, in a writing session."""
    return _user_named(session, LOCAL) or _made(session, LOCAL, "admin")


def add_user(session: Session, name: str, role: str = "user") -> User:
    """A new user; raises Invalid, or Conflict when the name is taken."""
    name = fields.text("name", name, NAME_LENGTH).strip()
    if _user_named(session, name):
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
    user = _user_named(session, name)
    if user is None:
        raise NotFound("user", name)
    user.role = _role(role)
    return user


def new_key(session: Session, name: str) -> str:
    """A new API key of the user, who is made when new. Shown once: only its digest is kept."""
    name = fields.text("name", name, NAME_LENGTH).strip()
    user = _user_named(session, name) or _made(session, name, "admin" if name == LOCAL else "user")
    key = "rd-" + secrets.token_urlsafe(32)
    session.add(ApiKey(id=new_id("key"), user_id=user.id, digest=_digest(key), hint=key[-6:]))
    session.flush()
    return key


def user_of_key(session: Session, key: str) -> User | None:
    """The user whom the key belongs to."""
    query = select(User).join(ApiKey, ApiKey.user_id == User.id)
    return session.scalar(query.where(ApiKey.digest == _digest(key), ApiKey.revoked_at.is_(None)))


def _user_named(session: Session, name: str) -> User | None:
    return session.scalar(select(User).where(User.name == name))


def _made(session: Session, name: str, role: str) -> User:
    user = User(id=new_id("usr"), name=name, role=role)
    try:
        with session.begin_nested():
            session.add(user)
    except IntegrityError as error:  # somebody else made it meanwhile
        if found := _user_named(session, name):
            return found
        raise Conflict(f"The user {name!r} cannot be made. Try again.") from error
    return user


def _role(role: str) -> str:
    if role not in ROLES:
        raise Invalid("role", f"role is {role!r}; it is one of {', '.join(ROLES)}.")
    return role


def _digest(key: str) -> str:
    # A plain hash is enough for 256 random bits; slow hashes are for passwords.
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
