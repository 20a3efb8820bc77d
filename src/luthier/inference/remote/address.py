"""Validation of the URL of a server's API."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from luthier.core.errors import UsageError

_LONGEST_URL = 2000
_LONGEST_NAME = 253
_NAME = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
"""Labels of a host name (RFC 1035, section 2.3.4), and the underscore, which container networks
use. A trailing dot marks a fully qualified name."""


def checked_url(url: str) -> str:
    """The URL of an API, without a slash at the end.

    Raises:
        UsageError: the URL has a scheme other than http(s), no host or an impossible host name, a
            password, a query or a fragment, or characters that a request has to encode.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise _refused(f"this is no URL: {error}") from None
    if parts.scheme.lower() not in ("http", "https") or not host:
        raise _refused("an endpoint is an http or https URL with a host")
    if parts.username or parts.password:
        raise _refused("the URL holds a user or a password, which would be stored with the run")
    if parts.query or parts.fragment or any(sign.isspace() or ord(sign) < 32 for sign in url):
        raise _refused("the URL of an endpoint has no query, fragment or white space")
    if not (url.isascii() and url.isprintable()):
        raise _refused(
            "the URL of an endpoint is written in ASCII: an international name as xn--…, "
            "other characters of its path as %…"
        )
    if len(url) > _LONGEST_URL:
        raise _refused(f"the URL is longer than {_LONGEST_URL:,} characters")
    if not (_is_address(host) if ":" in host or "[" in parts.netloc else _is_name(host)):
        raise _refused(f"{host[:80]!r} can be the name or the address of no host")
    return url.rstrip("/")


def _is_name(host: str) -> bool:
    return len(host) <= _LONGEST_NAME and _NAME.fullmatch(host) is not None


def _is_address(host: str) -> bool:
    """Whether this is an IPv6 address, which a URL writes in brackets."""
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _refused(problem: str) -> UsageError:
    return UsageError(
        problem,
        where="model.id",
        fix="write it like http://127.0.0.1:8000/v1, and name the variable of a key in "
        "model.endpoint.api_key_env",
    )
