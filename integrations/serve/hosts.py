"""Which names this server may be asked by, and which sites' pages may read its answers.

Without the first check, a page of any site could give its own name the address 127.0.0.1 (DNS rebinding), and
then read this server as if it were that site's.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence

from codequarry.common.environment import is_loopback
from codequarry.common.errors import UserError

_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?", re.IGNORECASE)
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@,;*]+", re.IGNORECASE)


class Hosts:
    """The names of this server: loopback's, the one it listens on, and those that are allowed.

    Arguments:
        bound: address or name that the server listens on. On one that stands for all addresses (0.0.0.0, ::)
            every number is a name of it, because no site's page can have a number for its name.
        allowed: further names, without a port; `*.example.org` for all below one, `*` for every name.

    Raises UserError for a name that no request could carry.
    """

    def __init__(self, bound: str, allowed: Sequence[str] = ()) -> None:
        for name in allowed:
            if name != "*" and _number(_bare(name)) is None and not _NAME.fullmatch(name):
                raise UserError(
                    f"--allowed-host {name!r} is no name of a machine: pass one such as vectors.example.org, "
                    "*.example.org or 10.0.0.5, without http:// and without a port."
                )
        everywhere = _number(bound)
        self._any_number = bound == "" or (everywhere is not None and everywhere.is_unspecified)
        self._every = "*" in allowed
        own = {bound, *allowed, *([socket.gethostname()] if self._any_number else [])}
        self._names = {_normal(name) for name in own if not name.startswith("*")}
        self._below = tuple(name[1:].lower().rstrip(".") for name in allowed if name.startswith("*."))

    def has(self, host: str | None) -> bool:
        """Whether `host`, the value of the header, is a name of this server; None for a missing header.

        HTTP 1.0 has no such header; browsers always send it.
        """
        if self._every or host is None:
            return True
        name = _without_port(host)
        if name is None:
            return False
        number = _number(name)
        if number is not None and (self._any_number or number.is_loopback):
            return True
        plain = _normal(name)
        return (
            is_loopback(plain)
            or plain.endswith(".localhost")
            or plain in self._names
            or plain.endswith(self._below)
        )


def check_origins(origins: Iterable[str]) -> None:
    """Raise UserError unless each is `*` or an origin as browsers send it: scheme://host[:port]."""
    for origin in origins:
        # Not "null" either, the origin of files: every page can make a frame that has it.
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise UserError(
                f"--cors-origin {origin!r} is no origin: pass scheme, host and port as the browser shows "
                "them, such as http://localhost:3000, without a path or a slash at the end; * allows every "
                "page."
            )


def _without_port(host: str) -> str | None:
    """The name in a Host header; None where it is none."""
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]/@\s]+)(?::\d{1,5})?", host.strip())
    return _bare(found[1]) if found else None


def _bare(name: str) -> str:
    """An IPv6 address without the brackets that stand around it in a URL."""
    return name[1:-1] if name.startswith("[") and name.endswith("]") else name


def _normal(name: str) -> str:
    number = _number(_bare(name))
    return str(number) if number is not None else name.lower().rstrip(".")


def _number(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
