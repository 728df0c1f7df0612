"""Every request seen from outside: its id, its line in the log, its place in the metrics."""

import re
import time
import uuid

from flask import Flask, Response, g, request

from serve.logs import REQUEST_ID, requests
from serve.metrics import REQUEST_SECONDS, REQUESTS

HEADER = "X-Request-Id"
# A label is kept for good, and a client may make up any number of methods.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
GIVEN = re.compile(r"[\w.:-]{1,128}", re.ASCII)  # nothing that could forge a line of a log


def install(app: Flask) -> None:
    """Observe all requests of `app`; call it before any other hook is added."""

    @app.before_request
    def _begin() -> None:
        given = request.headers.get(HEADER, "")
        g.began = time.monotonic()
        g.request_id = given if GIVEN.fullmatch(given) else f"req_{uuid.uuid4().hex}"
        REQUEST_ID.set(g.request_id)

    @app.after_request
    def _tell(response: Response) -> Response:
        response.headers[HEADER] = g.request_id
        seen = {
            # The route, not the address: that may hold what somebody searched for.
            "route": str(request.url_rule) if request.url_rule else "none",
            "method": request.method if request.method in METHODS else "other",
            "status": response.status_code,
            "user": g.user.id if "user" in g else None,
            "request_id": g.request_id,
        }
        began = g.began
        response.call_on_close(lambda: _end(seen, time.monotonic() - began))
        return response


def _end(seen: dict[str, object], seconds: float) -> None:
    REQUESTS.labels(seen["method"], seen["route"], seen["status"]).inc()
    REQUEST_SECONDS.labels(seen["route"]).observe(seconds)
    fields = {**seen, "seconds": round(seconds, 4)}
    requests.info("%(method)s %(route)s %(status)s", seen, extra={"fields": fields})
    REQUEST_ID.set("")
