"""Signing in: a token for a name and its password, kept as a digest, gone after a time."""

import secrets
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from feedback.moments import now
from feedback.tables import LoginSession, User
from feedback.users import digest

PREFIX = "rs-"  # an API key begins with rd-


def open_session(session: Session, user_id: str, hours: float) -> str:
    """The token of a new session, shown once; sessions that have ended are cleared away."""
    session.execute(delete(LoginSession).where(LoginSession.expires_at <= now()))
    token = PREFIX + secrets.token_urlsafe(32)
    ends = now() + timedelta(hours=hours)
    session.add(LoginSession(digest=digest(token), user_id=user_id, expires_at=ends))
    session.flush()
    return token


def user_of_session(session: Session, token: str) -> User | None:
    """Who signed in with that token; None when the session has ended."""
    query = select(User).join(LoginSession, LoginSession.user_id == User.id)
    return session.scalar(
        query.where(LoginSession.digest == digest(token), LoginSession.expires_at > now())
    )


def close_session(session: Session, token: str) -> None:
    """End a session; one that has ended stays so."""
    session.execute(delete(LoginSession).where(LoginSession.digest == digest(token)))
