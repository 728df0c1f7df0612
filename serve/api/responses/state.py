"""What is kept of responses: looked up by their owner, gone on from, and mended after a crash."""

from typing import Any

from feedback import responses
from feedback.database import Database
from feedback.errors import NotFound
from feedback.owned import own_response
from feedback.tables import Response, User
from serve.api.errors import ApiError
from serve.api.responses.background import Jobs
from serve.api.responses.items import response_of

Json = dict[str, Any]
LOST = {
    "code": "server_error",
    "message": "The server was stopped while it wrote this response. Ask again.",
}


class State:
    """The responses of one user."""

    def __init__(self, database: Database, jobs: Jobs, user: User) -> None:
        self._database, self._jobs, self._user = database, jobs, user

    def find(self, response_id: str) -> Response:
        """A response; one that a stopped server left under way is failed. Raises NotFound."""
        with self._database.reading() as session:
            found = own_response(session, self._user, response_id)
        if found.status not in responses.UNDER_WAY:
            return found
        if job := self._jobs.find(found.id):
            found.resource = job.resource
        else:
            found.resource = {**found.resource, "status": "failed", "error": LOST}
            with self._database.session() as session:
                responses.change_response(session, found.resource)
        return found

    def chain(self, response_id: str) -> list[Response]:
        """The response and those before it, the oldest first. Raises ApiError 404, 409."""
        param = "previous_response_id"
        try:
            with self._database.reading() as session:
                found = responses.chain_of(session, self._user, response_id)
        except NotFound as error:
            code = "previous_response_not_found"
            raise ApiError(404, str(error), param=param, code=code) from error
        if found[-1].status in responses.UNDER_WAY:
            status = self.find(response_id).resource["status"]
            if status in responses.UNDER_WAY:
                message = f"Response {response_id} is {status}; go on from it when it has ended."
                raise ApiError(409, message, param=param, code="response_not_ended")
        return found

    def find_item(self, item_id: str) -> Json | None:
        """An item of one of the user's responses, None where there is none."""
        try:
            found = self.find(response_of(item_id) or "")
        except NotFound:
            return None
        items = [*found.input, *found.resource["output"]]
        return next((item for item in items if item["id"] == item_id), None)

    def record(self, conversation_id: str, turn_id: str, input: list[Json], shown: Json) -> None:
        """Keep a response."""
        with self._database.session() as session:
            responses.record_response(
                session,
                conversation_id=conversation_id,
                turn_id=turn_id,
                input=input,
                resource=shown,
            )

    def change(self, shown: Json) -> None:
        """Keep what a response has become."""
        with self._database.session() as session:
            responses.change_response(session, shown)

    def delete(self, response_id: str) -> None:
        """Stop the response and remove it. Raises NotFound."""
        with self._database.reading() as session:
            own_response(session, self._user, response_id)
        self._jobs.forget(response_id)
        with self._database.session() as session:
            responses.delete_response(session, self._user, response_id)
