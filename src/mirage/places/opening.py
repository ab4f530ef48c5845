"""fsspec, as everything here uses it: stores opened late, errors told in one clear line.

Credentials come from the environment, as each store's own library finds them; nothing here reads
or keeps them. What a URL holds of secrets, a signature say, is not shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

HUB = "hf"
WEB = frozenset({"http", "https"})
LIBRARIES = {
    "s3": ("s3fs", "remote"),
    "s3a": ("s3fs", "remote"),
    "gs": ("gcsfs", "gcs"),
    "gcs": ("gcsfs", "gcs"),
    "http": ("aiohttp", "remote"),
    "https": ("aiohttp", "remote"),
}
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 10, 30, 2
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
USER = re.compile(r"(?<=://)[^/\s]+@")
QUERY = re.compile(r"(https?://[^\s?'\"]*)\?[^\s'\"]*", re.IGNORECASE)
NO_CREDENTIALS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError", "SSOTokenLoadError"}
    | {"DefaultCredentialsError", "RefreshError", "ProfileNotFound"}
)


def is_remote(name: str) -> bool:
    """Whether a name is a URL of a store. `hf://` is none: its names are those of datasets."""
    found = SCHEME.match(name)
    return found is not None and found[1].lower() != HUB


def without_secrets(text: str) -> str:
    """A text whose URLs show neither a user nor a query, in which signatures stand."""
    return QUERY.sub(r"\1?***", USER.sub("***@", text))


def check(scheme: str) -> None:
    """Raise ValueError for a scheme that is not read, or whose library is missing."""
    library, extra = LIBRARIES.get(scheme, ("fsspec", "remote"))
    for name in ("fsspec", library):
        if find_spec(name) is None:
            raise ValueError(
                f"{scheme}:// needs the library `{name}`: pip install 'mirage-engine[{extra}]'"
            )
    from fsspec import available_protocols

    if scheme in ("file", "local"):
        raise ValueError("a path of this machine is written without a scheme")
    if scheme not in available_protocols():
        known = ", ".join(f"{each}://" for each in sorted(LIBRARIES))
        raise ValueError(f"{scheme}:// is no kind of store that is known; such are {known}")


def filesystem(scheme: str) -> Any:
    """The store behind a scheme: it remembers no listing, and gives up after a while.

    What the environment says of the store (FSSPEC_S3_ENDPOINT_URL, say) is kept.
    """
    import fsspec
    from fsspec.config import conf

    options: dict[str, Any] = {"use_listings_cache": False}
    if scheme in ("s3", "s3a"):
        given = conf.get("s3", {}).get("config_kwargs", {})
        waits = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}
        options["config_kwargs"] = {**waits, "retries": {"max_attempts": ATTEMPTS}, **given}
    elif scheme in ("gs", "gcs"):
        options["timeout"] = READ_SECONDS
    elif scheme in WEB:
        from aiohttp import ClientTimeout

        timeout = ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
        options["client_kwargs"] = {"timeout": timeout}
    return fsspec.filesystem(scheme, **options)


@contextmanager
def asking(what: object) -> Iterator[None]:
    """Whatever a store raises becomes an OSError of one line that names what was asked for."""
    try:
        yield
    except FileNotFoundError as exc:
        bucket = "specified bucket" in str(exc).lower()
        why = "its bucket does not exist" if bucket else "does not exist"
        raise FileNotFoundError(f"{what}: {why}") from exc
    except PermissionError as exc:
        message = f"{what}: access is denied; check the credentials and what they allow"
        raise PermissionError(f"{message} ({line(exc)})") from exc
    except Exception as exc:
        if type(exc).__name__ in NO_CREDENTIALS:
            hint = "set the variables of the store, such as AWS_ACCESS_KEY_ID, or AWS_PROFILE"
            raise PermissionError(f"{what}: no credentials were found; {hint}") from exc
        raise OSError(f"{what}: {line(exc)}") from exc


def line(error: Exception) -> str:
    """An error of a library on one line, without secrets."""
    said = " ".join(str(error).split()) or type(error).__name__
    return without_secrets(said)[:500]
