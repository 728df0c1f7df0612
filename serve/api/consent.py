"""The caller's consent to be learned from."""

from typing import Any

from flask import Blueprint

from feedback import users
from serve.api.context import caller, context
from serve.api.errors import json_body
from serve.api.operation import operation
from serve.api.parameters import Strict

blueprint = Blueprint("consent", __name__, url_prefix="/v1/consent")


class Consent(Strict):
    """Whether what the user wrote and said may be learned from."""

    given: bool


@blueprint.get("")
def show() -> dict[str, Any]:
    """Whether the caller lets their words be learned from."""
    return _describe(caller().consent)


@blueprint.put("")
@operation(body=Consent)
def change() -> dict[str, Any]:
    """Give or withdraw it: without, nothing of the caller's is in any later snapshot."""
    user, asked = caller(), Consent.model_validate(json_body())
    with context().database.session() as session:
        users.set_consent(session, user.name, asked.given)
    return _describe(asked.given)


def _describe(given: bool) -> dict[str, Any]:
    return {"object": "consent", "given": given}
