"""What HTTP engines share: one connection pool, and faults as the field names them.

The client is libcurl, through pycurl: measured beside pyreqwest, aiohttp, httpx and others it costs
the least CPU per call, and it has no threads that contend for the interpreter. Nothing else of the
package touches it but its driver (transfers.py), so that another client can take its place here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson
from msgspec import Struct

from mirage.certificates import authorities
from mirage.errors import AuthenticationError, EngineError

MAX_MESSAGE = 500
MAX_RAW = 10_000
SMALLEST, LARGEST = 1 << 14, 1 << 21
"""Of curl's buffer for what is sent."""
HEAD = 1024
MAX_RETRY_AFTER = 3600.0
CONNECT_TIMEOUT = 30.0
PASSING = frozenset({408, 409, 425, 429})
OVERLOAD = frozenset({429, 503})
JSON = "application/json"
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class PassingError(Exception):
    """A fault that may pass when the call is repeated. `load` says that there was too much,
    `unreached` that no connection could be made.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        raw: str | None = None,
        load: bool = False,
        retry_after: float = 0.0,
        unreached: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.raw = raw
        self.load = load
        self.retry_after = retry_after
        self.unreached = unreached


class Secrets(Struct, frozen=True):
    """What must never be shown, and the variable that the key came from."""

    values: tuple[str, ...] = ()
    variable: str | None = None

    def redact(self, text: str, limit: int = MAX_MESSAGE) -> str:
        for secret in self.values:
            text = text.replace(secret, "***")
        return text if len(text) <= limit else text[: limit - 1] + "…"


class Reply(Struct, frozen=True):
    """What came back. `retry_after` is in seconds, 0 where the server does not say."""

    status: int
    body: bytes
    retry_after: float = 0.0


class HttpClient:
    """A pool of keep-alive connections to one engine's endpoints.

    Redirects are not followed, so that a key goes nowhere else; proxies are used only where
    `proxy` names one, or is "environment". `timeout` is seconds for one call, connecting included.
    """

    def __init__(
        self,
        headers: Mapping[str, str],
        *,
        timeout: float,
        connections: int,
        proxy: str | None = None,
    ) -> None:
        import pycurl

        self._curl = pycurl
        self._timeout = timeout
        self._options = {
            pycurl.POST: 1,
            pycurl.NOSIGNAL: 1,
            pycurl.TIMEOUT_MS: round(timeout * 1000),
            pycurl.CONNECTTIMEOUT_MS: round(min(timeout, CONNECT_TIMEOUT) * 1000),
            pycurl.USERAGENT: "mirage",
            # without the last, curl waits a second for leave to send a large body
            pycurl.HTTPHEADER: [*header_lines({"Content-Type": JSON, **headers}), "Expect:"],
            **authorities(),
        }
        if proxy != "environment":
            self._options[pycurl.PROXY] = proxy or ""
        self._transfers = transfers(2 * connections)
        self._idle: dict[tuple[str, int], list[tuple[Any, list[bytes]]]] = {}

    async def post(self, url: str, body: bytes) -> Reply:
        """Raises PassingError where no reply came."""
        # curl clears all of it for every call
        size = len(body) + HEAD
        buffer = SMALLEST if size <= SMALLEST else min(1 << size.bit_length(), LARGEST)
        idle = self._idle.setdefault((url, buffer), [])
        handle, received = idle.pop() if idle else self._handle(url, buffer)
        handle.setopt(self._curl.POSTFIELDS, body)
        try:
            await self._transfers.perform(handle)  # one that is cancelled is not used again
        except self._curl.error as exc:
            began = handle.getinfo(self._curl.REQUEST_SIZE) > 0
            handle.close()
            raise self._fault(url, int(exc.args[0]), str(exc.args[-1]), began) from None
        status = handle.getinfo(self._curl.RESPONSE_CODE)
        wait = handle.getinfo(self._curl.RETRY_AFTER) if status in OVERLOAD else 0
        data = b"".join(received)
        received.clear()
        idle.append((handle, received))
        return Reply(status, data, min(wait, MAX_RETRY_AFTER))

    def _fault(self, url: str, code: int, message: str, began: bool) -> PassingError:
        """What an error of curl's means; `began` says whether the request was sent."""
        if code == self._curl.E_OPERATION_TIMEDOUT and began:
            return PassingError("timeout", f"no answer within {self._timeout:g} s")
        curl = self._curl
        host = urlsplit(url).netloc.rpartition("@")[2]
        text = message if host in message else f"{host}: {message}"
        nowhere = (curl.E_COULDNT_CONNECT, curl.E_COULDNT_RESOLVE_HOST, curl.E_OPERATION_TIMEDOUT)
        return PassingError("connection", text, unreached=code in nowhere)

    def _handle(self, url: str, buffer: int) -> tuple[Any, list[bytes]]:
        """One for a call at a time, and where it puts what comes back."""
        handle, received = self._curl.Curl(), list[bytes]()
        handle.setopt(self._curl.WRITEFUNCTION, received.append)
        handle.setopt(self._curl.URL, url)
        handle.setopt(self._curl.UPLOAD_BUFFERSIZE, buffer)
        for option, setting in self._options.items():
            handle.setopt(option, setting)
        return handle, received

    async def close(self) -> None:
        await self._transfers.aclose()


def transfers(connections: int) -> Any:
    """What drives the calls; pycurl's own where the system is another."""
    if sys.platform == "linux":
        from mirage.engines.transfers import Transfers

        return Transfers(connections)
    from pycurl import M_MAXCONNECTS, AsyncCurlMulti

    driver = AsyncCurlMulti()
    driver.setopt(M_MAXCONNECTS, connections)
    return driver


def header_lines(headers: Mapping[str, str]) -> list[str]:
    """Headers as curl takes them. Raises ValueError for what cannot stand in one."""
    for name, text in headers.items():
        if not (TOKEN.fullmatch(name) and text.isascii() and (text.isprintable() or not text)):
            raise ValueError(f"the header '{name}' holds characters that no header can")
    return [f"{name}: {text}" if text.strip() else f"{name};" for name, text in headers.items()]


def check_url(url: str) -> str:
    """The URL itself. Raises ValueError where it is none of a server, or no path can be added."""
    split = urlsplit(url)
    if split.scheme not in ("http", "https") or not split.hostname:
        raise ValueError("must start with http:// or https:// and name a host")
    if split.netloc.count("@") > 1:
        raise ValueError("a `@` in a user's name or password is written %40")
    if "?" in url or "#" in url:
        raise ValueError("must end before the `?` or `#`; what follows a `?` belongs under `query`")
    return url


def refusal(reply: Reply, secrets: Secrets) -> PassingError | EngineError | AuthenticationError:
    """The error that a status other than 2xx stands for."""
    status = reply.status
    message, codes = _explanation(reply.body)
    text = secrets.redact(f"HTTP {status}: {message}" if message else f"HTTP {status}")
    if any("content_filter" in code or "content_policy" in code for code in codes):
        return EngineError("content_filter", text)
    if "context_length_exceeded" in codes:
        return EngineError("too_long", text)
    if status in (401, 403):
        key = secrets.variable
        hint = f"the key in {key} was refused" if key else "no key given: set engine.api_key_env"
        return AuthenticationError(f"{hint} ({text})")
    if status == 402 or "insufficient_quota" in codes:
        return AuthenticationError(f"the account has no credit left ({text})")
    if status in PASSING or status >= 500:
        load, wait = status in OVERLOAD, reply.retry_after
        return PassingError(f"http_{status}", text, load=load, retry_after=wait)
    if 300 <= status < 400:
        text = f"HTTP {status}: the endpoint redirects, which is not followed; check base_url"
    return EngineError(f"http_{status}", text)


def _explanation(body: bytes) -> tuple[str, set[str]]:
    """What the server says, and the codes that it gives, in any of the usual shapes."""
    try:
        reply = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body[: 4 * MAX_MESSAGE].decode(errors="replace").strip(), set()
    error = reply.get("error", reply) if isinstance(reply, dict) else reply
    if not isinstance(error, dict):
        return str(error), set()
    inner = error.get("innererror")
    codes = {error.get("code"), error.get("type"), inner.get("code") if inner else None}
    message = error.get("message") or error.get("detail") or error
    return str(message), {code for code in codes if isinstance(code, str)}
