"""The API as a process: waitress, which tells a generation that its client is gone."""

import logging
import resource
import socket
from typing import Any

import waitress

from serve.api import create_app
from serve.api.authentication import require_users
from serve.api.connection import Connection
from serve.api.context import Context, open_context
from serve.metrics import count_waiting
from serve.processes import ProcessError
from serve.settings import Settings

log = logging.getLogger("redraft")

IDLE = 1000  # connections that browsers and proxies keep open
FILES = 200  # open files besides: database, model, logs


def serve(settings: Settings) -> None:
    """Open record and engine, then answer until the process is stopped. Blocks."""
    listener = bind(settings.host, settings.port, "REDRAFT_PORT")
    context = open_context(settings)
    require_users(settings, context.database)
    server = server_on(listener, context)
    count_waiting(lambda: len(server.task_dispatcher.queue))
    log.info("API ready on %s, adapter in service: %s", settings.api_url, context.serving.adapter)
    try:
        server.run()
    finally:
        context.chat.engine.close()
        context.database.close()


def server_on(listener: socket.socket, context: Context) -> Any:
    """waitress for the API on a listening socket; its `run` blocks."""
    settings = context.settings
    server = waitress.create_server(
        create_app(context),
        sockets=[listener],
        threads=settings.threads,
        connection_limit=connection_limit(settings.threads),
        asyncore_use_poll=True,  # select() ends at file number 1024
        ident=None,
        channel_request_lookahead=1,  # so that a closed client is noticed while its answer is made
        max_request_header_size=32_768,  # bytes of all headers; more is a 431
        clear_untrusted_proxy_headers=False,  # serve.api.callers decides whom it believes
        max_request_body_size=int(settings.max_body_mb * 2_000_000),
    )
    server.channel_class = Connection
    return server


def connection_limit(threads: int) -> int:
    """How many connections are held open: those being answered, and idle ones beside them.

    Raises this process's own limit of open files to what that takes, as far as it may.
    """
    wanted = 2 * threads + IDLE + FILES  # each answer may have a connection to the engine as well
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(threads, wanted - threads - FILES)


def bind(host: str, port: int, variable: str) -> socket.socket:
    """A listening socket. Raises ProcessError that names the port and the setting to change."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ProcessError(
            f"Port {port} on {host} cannot be opened: {error.strerror}. Stop what listens there or "
            f"set {variable} to a free port."
        ) from error
    listener.listen(1024)
    return listener
