"""One image by its address: over http or https, from a public server, within limits.

Used by `web`, in threads; what else is asked for once, within the same limits, may come this way.
libcurl does the transfer; every address that it is about to connect to, after each redirect and
each look-up of a name, is looked at here first.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from typing import Any
from urllib.parse import quote, urlsplit

from msgspec import Struct

from mirage.certificates import authorities
from mirage.errors import MediaError

CONNECT = 15.0
LONGEST_URL = 8_000
SHOWN = 200
DEAD = frozenset({404, 410})
PASSING = frozenset({408, 425, 429})
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
ASSIGNED = ipaddress.IPv4Network("192.0.0.0/24")
"""IETF protocol assignments, which Python's own list does not cover before 3.13."""


class Limits(Struct, frozen=True):
    """What one fetch may take: seconds in all, bytes, redirects; `private` allows any address.

    `retries` is how often a fault that may pass is tried again.
    """

    timeout: float = 30.0
    max_bytes: int = 64 * 1024 * 1024
    redirects: int = 5
    retries: int = 3
    private: bool = False


class DeadError(MediaError):
    """The server says that there is no such image, and will not be one: its kind is "dead"."""


class PassingError(MediaError):
    """A fault that may pass; `retry_after` is in seconds, 0 where the server does not say."""

    retry_after: float = 0.0


class Fetcher:
    """A libcurl handle for each thread, which keeps its connections open."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._own = threading.local()

    def get(self, url: str) -> bytes:
        """The body of one answer. Raises DeadError, PassingError, or MediaError for what will not
        pass: "refused" (no address of a server), "private", "redirects", "large", "http_403".
        """
        import pycurl

        address = ascii_url(url)
        handle = getattr(self._own, "handle", None)
        if handle is None:
            handle = self._own.handle = pycurl.Curl()
        received = Received(self.limits.max_bytes)
        door = Door(open_to_all=self.limits.private)
        handle.reset()  # keeps the connections
        for option, value in options(self.limits).items():
            handle.setopt(option, value)
        handle.setopt(pycurl.URL, address)
        handle.setopt(pycurl.WRITEFUNCTION, received.take)
        handle.setopt(pycurl.OPENSOCKETFUNCTION, door.open)
        try:
            handle.perform()
        except pycurl.error as exc:
            raise self._fault(exc, handle, url, (received, door)) from None
        status = handle.getinfo(pycurl.RESPONSE_CODE)
        if status != 200:
            raise MediaError(f"http_{status}", f"HTTP {status} from {shown(url)}")
        return b"".join(received.pieces)

    def _fault(self, exc: Any, handle: Any, url: str, seen: tuple[Received, Door]) -> MediaError:
        """What an error of libcurl means."""
        import pycurl

        received, door = seen
        code, said = exc.args[0], f"{exc.args[-1]}: {shown(url)}"
        if door.refused and code == pycurl.E_COULDNT_CONNECT:
            what = f"{door.refused} is not a public address"
            hint = "`run.fetch.private: true` allows it"
            return MediaError("private", f"{what}, and {hint}: {shown(url)}")
        if received.size > received.limit or code == pycurl.E_FILESIZE_EXCEEDED:
            return MediaError(
                "large", f"more than the limit of {received.limit:,} bytes: {shown(url)}"
            )
        match code:
            case pycurl.E_HTTP_RETURNED_ERROR:
                return by_status(handle, url)
            case pycurl.E_OPERATION_TIMEDOUT:
                return PassingError("timeout", f"not within {self.limits.timeout:g} s: {said}")
            case pycurl.E_TOO_MANY_REDIRECTS:
                return MediaError("redirects", said)
            case pycurl.E_UNSUPPORTED_PROTOCOL | pycurl.E_URL_MALFORMAT:
                return MediaError("refused", said)
            case pycurl.E_PEER_FAILED_VERIFICATION:
                return MediaError("certificate", said)
        return PassingError("connection", said)


def by_status(handle: Any, url: str) -> MediaError:
    """The error that a status of 400 or more stands for."""
    import pycurl

    status = handle.getinfo(pycurl.RESPONSE_CODE)
    message = f"HTTP {status} from {shown(url)}"
    if status in DEAD:
        return DeadError("dead", message)
    if status in PASSING or status >= 500:
        passing = PassingError(f"http_{status}", message)
        passing.retry_after = float(handle.getinfo(pycurl.RETRY_AFTER))
        return passing
    return MediaError(f"http_{status}", message)


def options(limits: Limits) -> dict[int, Any]:
    """No proxy, no netrc, no cookies, no other scheme, and an end to everything."""
    import pycurl

    web = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS
    return {
        pycurl.NOSIGNAL: 1,
        pycurl.PROXY: "",
        pycurl.NETRC: pycurl.NETRC_IGNORED,
        pycurl.PROTOCOLS: web,
        pycurl.REDIR_PROTOCOLS: web,
        pycurl.FOLLOWLOCATION: 1,
        pycurl.MAXREDIRS: limits.redirects,
        pycurl.FAILONERROR: 1,
        pycurl.MAXFILESIZE_LARGE: limits.max_bytes,
        pycurl.TIMEOUT_MS: round(limits.timeout * 1000),
        pycurl.CONNECTTIMEOUT_MS: round(min(limits.timeout, CONNECT) * 1000),
        pycurl.USERAGENT: "mirage",
        pycurl.HTTPHEADER: ["Accept: image/*,*/*;q=0.5"],
        **authorities(),
    }


class Received:
    """What has come so far. A body that grows beyond the limit is cut off where it does."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.pieces: list[bytes] = []
        self.size = 0

    def take(self, piece: bytes) -> int | None:
        self.size += len(piece)
        if self.size > self.limit:
            return 0
        self.pieces.append(piece)
        return None


class Door:
    """Opens sockets for libcurl, to public addresses only; `refused` is one that was not."""

    def __init__(self, *, open_to_all: bool) -> None:
        self.open_to_all = open_to_all
        self.refused = ""

    def open(self, purpose: int, address: Any) -> Any:
        import pycurl

        family, kind, protocol, where = address
        if family not in (socket.AF_INET, socket.AF_INET6):
            self.refused = repr(where)
            return pycurl.SOCKET_BAD
        host = where[0]
        host = host.decode() if isinstance(host, bytes) else host
        if not self.open_to_all and not is_public(host):
            self.refused = host
            return pycurl.SOCKET_BAD
        return socket.socket(family, kind, protocol)


def is_public(host: str) -> bool:
    """Whether an IP address is one of the open internet, by the IANA registries of special-purpose
    addresses; what embeds another address (mapped, 6to4, Teredo, NAT64) is judged by that.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address.teredo is not None or address.is_site_local:
            return False
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    elif address in ASSIGNED:
        return False
    odd = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not odd


def ascii_url(url: str) -> str:
    """A URL as it goes over the wire. Raises MediaError ("refused") for what is none, or has a name
    and a password in it.
    """
    if len(url) > LONGEST_URL or not url.isprintable():
        raise MediaError("refused", f"not a URL that is fetched: {shown(url)}")
    try:
        split = urlsplit(url)
        host, port = split.hostname or "", split.port
        host = host if ":" in host or host.isascii() else host.encode("idna").decode()
    except ValueError as exc:
        raise MediaError("refused", f"not a URL: {shown(url)} ({exc})") from None
    if not host or "@" in split.netloc:
        why = "no host" if not host else "a name or a password"
        raise MediaError("refused", f"a URL with {why} is not fetched: {shown(url)}")
    place = f"[{host}]" if ":" in host else host
    place += "" if port is None else f":{port}"
    path = quote(split.path, safe="/%:@!$&'()*+,;=~-._") or "/"
    query = "?" + quote(split.query, safe="/%:@!$&'()*+,;=~-._?") if split.query else ""
    return f"{split.scheme.lower()}://{place}{path}{query}"


def shown(url: str) -> str:
    """A URL in a message: short, and without what may be a password."""
    head, slashes, rest = url.partition("://")
    netloc, slash, path = rest.partition("/")
    text = repr(head + slashes + netloc.rpartition("@")[2] + slash + path)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
