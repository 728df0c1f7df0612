"""One streamed answer over HTTP/1.1, read with little work: a gateway does this for every token.

The standard library's client: httpx's way to a token is four times as long.
"""

import base64
import contextlib
import http.client
import io
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import httpx

from serve.engines.base import BEAT

AT_ONCE = 65_536  # bytes
FAULTS = (OSError, http.client.HTTPException)  # what asking and reading raise; a timeout among them


class EventSource:
    """A server that is asked for streams. Each has a connection of its own."""

    def __init__(
        self, url: httpx.URL, headers: Mapping[str, str], connect: float, patience: float, env: bool
    ) -> None:
        self._url, self._connect, self._patience = url, connect, patience
        self._headers = {**headers, "Content-Type": "application/json"}
        self._tls = httpx.create_ssl_context() if url.scheme == "https" else None
        self._proxy = _proxy(url) if env else None

    def ask(self, path: str, body: Mapping[str, Any]) -> "Answer":
        """POST the body as JSON; the answer, which is to be closed, may not have begun.

        Raises what is in FAULTS.
        """
        target, headers = self._url.raw_path.decode().rstrip("/") + path, self._headers
        if self._proxy and not self._tls:
            target = f"http://{self._url.netloc.decode()}{target}"
            headers = {**headers, **_credentials(self._proxy)}
        connection = self._connection()
        try:
            self._open(connection)
            connection.sock.settimeout(self._patience)
            connection.request("POST", target, json.dumps(body).encode(), headers)
            return Answer(connection, self._patience)
        except BaseException:
            connection.close()
            raise

    def _open(self, connection: http.client.HTTPConnection) -> None:
        try:
            connection.connect()
        except TimeoutError as error:
            raise ConnectionError(f"no connection after {self._connect:g} s") from error

    def _connection(self) -> http.client.HTTPConnection:
        at = self._proxy or self._url
        if self._tls is None:
            return http.client.HTTPConnection(_host(at), at.port or 80, timeout=self._connect)
        connection = _secure(at, self._tls, self._connect)
        if self._proxy:
            port = self._url.port or 443
            connection.set_tunnel(_host(self._url), port, _credentials(self._proxy))
        return connection


class Answer:
    """An answer as it comes: first `head`, then its parts. Raises what is in FAULTS.

    In place of blocking for longer than a beat, both yield nothing: None and b"".
    """

    def __init__(self, connection: http.client.HTTPConnection, patience: float) -> None:
        self._connection, self._patience = connection, patience
        self.hung_up = False
        self._wire = _Wire(connection.sock, patience)
        self._buffer = io.BufferedReader(self._wire)
        self._response = http.client.HTTPResponse(cast(socket.socket, self), method="POST")

    def makefile(self, mode: str) -> "io.BufferedReader[_Wire]":
        """What the standard library's response reads from."""
        return self._buffer

    def head(self) -> Iterator[None]:
        """Yields None every beat until the status is known."""
        yield from self._silence()
        self._response.begin()

    def whole(self) -> httpx.Response:
        """All of it, for answers that are no streams."""
        head, data = self._response, self._response.read()
        return httpx.Response(head.status, headers=head.getheaders(), content=data)

    @property
    def is_success(self) -> bool:
        return 200 <= self._response.status < 300

    def __iter__(self) -> Iterator[bytes]:
        """What is there, as soon as something is; b"" every beat while nothing is."""
        while not self._response.isclosed():
            for _ in self._silence():
                yield b""
            if not (data := self._response.read1(AT_ONCE)):
                return
            yield data

    def hang_up(self) -> None:
        """End the connection under a reader, who finds its end. Takes no time."""
        self.hung_up = True
        self._wire.cut()

    def close(self) -> None:
        """Close the connection, which tells the server to stop."""
        self._response.close()
        self._connection.close()

    def _silence(self) -> Iterator[None]:
        """Every beat until there is something to read, or the end."""
        self._wire.peeking, waited = True, 0.0
        while not self._buffer.peek(1) and not self._wire.ended:
            waited += self._wire.beat
            if waited >= self._patience:
                raise TimeoutError
            yield
        self._wire.peeking = False


class _Wire(io.RawIOBase):
    """The bytes of a connection. While somebody is `peeking`, a beat without any reads as None."""

    def __init__(self, connected: socket.socket, patience: float) -> None:
        self._socket, self._patience, self.beat = connected, patience, min(BEAT, patience)
        self.peeking, self.ended = False, False
        connected.settimeout(self.beat)

    def readable(self) -> bool:
        return True

    def cut(self) -> None:
        with contextlib.suppress(OSError):  # it is closed already
            # Of the plain socket: a TLS one would be taken apart under its reader.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def readinto(self, buffer: Any) -> int | None:
        waited = 0.0
        while True:
            try:
                read = self._socket.recv_into(buffer)
            except TimeoutError:
                waited += self.beat
                if self.peeking:
                    return None
                if waited >= self._patience:
                    raise
            else:
                self.ended = not read
                return read


def _secure(at: httpx.URL, tls: ssl.SSLContext, seconds: float) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(_host(at), at.port or 443, timeout=seconds, context=tls)


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode()


def _proxy(url: httpx.URL) -> httpx.URL | None:
    """The proxy that the environment names for the server."""
    if proxy_bypass(url.netloc.decode()):
        return None
    proxies = getproxies()
    found = proxies.get(url.scheme) or proxies.get("all")
    return httpx.URL(found if "://" in found else f"http://{found}") if found else None


def _credentials(proxy: httpx.URL) -> dict[str, str]:
    if not proxy.userinfo:
        return {}
    pair = base64.b64encode(unquote(proxy.userinfo.decode()).encode()).decode()
    return {"Proxy-Authorization": f"Basic {pair}"}
