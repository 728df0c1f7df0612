"""Who is at the other end of a request: the address, the encryption, and whether it is local."""

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

from flask import request

LOOPBACK = "127.0.0.0/8,::1/128"


def client_address(trusted: str) -> str:
    """The address of the client: the last one of `X-Forwarded-For` that no trusted proxy has."""
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",")]
    hops = [*filter(None, hops), request.remote_addr or ""]
    strangers = (hop for hop in reversed(hops) if not _is_within(hop, trusted))
    return next(strangers, hops[0])


def is_encrypted(trusted: str) -> bool:
    """Whether the client came over TLS, here or at a trusted proxy."""
    if not _is_within(request.remote_addr or "", trusted):
        return request.is_secure
    return request.headers.get("X-Forwarded-Proto", request.scheme).lower() == "https"


def is_local(trusted: str) -> bool:
    """Whether a person or program on this machine asks, and no web site of somebody else.

    A site's own name can be made to lead here; one without a dot, or loopback's, it cannot have.
    """
    named = (request.host, request.headers.get("X-Forwarded-Host", "localhost"))
    hosts = [_name_in(f"//{name}") for name in named]
    if not all(_is_loopback(host) or host.replace("-", "").isalnum() for host in hosts):
        return False
    if not is_same_origin() and not _is_loopback(_name_in(request.headers["Origin"])):
        return False
    return _is_loopback(client_address(trusted))


def is_same_origin() -> bool:
    """Whether a browser that names the page which asks names one of this server."""
    origin = request.headers.get("Origin")
    return origin is None or origin.partition("://")[2].lower() == request.host.lower()


def _name_in(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    return name == "localhost" or _is_within(name, "")


def _is_within(address: str, trusted: str) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in network for network in networks(trusted))


@lru_cache
def networks(trusted: str) -> "tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]":
    """Loopback and the given addresses and networks. Raises ValueError for what is neither."""
    given = [part.strip() for part in f"{LOOPBACK},{trusted}".split(",")]
    return tuple(ipaddress.ip_network(part, strict=False) for part in given if part)
