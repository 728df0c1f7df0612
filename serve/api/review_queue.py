"""What waits for a reviewer; their word on it is feedback of kind review."""

from typing import Any

from flask import Blueprint

from feedback import queue
from serve.api.context import context
from serve.api.operation import operation
from serve.api.paging import PAGE, list_object, page_arguments

blueprint = Blueprint("review_queue", __name__, url_prefix="/v1/review-queue")


@blueprint.get("")
@operation(query=PAGE, role="reviewer")
def index() -> dict[str, Any]:
    """Verdicts that wait for a reviewer: all in quarantine, the newest first, then a sample.

    As the last run that curated left them. `held` says what holds one back, null for a sample of
    what is trained on; `users` how many people say the same; `text` is what a fix begins with.
    """
    limit, after = page_arguments()
    with context().database.reading() as session:
        page = queue.list_queue(session, limit, after)
        far = queue.progress(session)
    listed = list_object(page.items, page.has_more, page.last_id)
    return {**listed, "progress": vars(far)}
