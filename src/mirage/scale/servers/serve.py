"""Servers behind Ray Serve: the HTTP proxies of an application, as Ray's dashboard tells them.

The reply is that of `GET /api/serve/applications/`:
https://docs.ray.io/en/latest/serve/api/index.html (`ServeInstanceDetails`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from mirage.errors import MediaError
from mirage.media.fetch import Fetcher, Limits

FORM = re.compile(
    r"(?P<address>(https?://)?([\w.-]+|\[[\da-fA-F:.]+\])(:\d{1,5})?)?(/(?P<name>[^/\s]*))?",
    re.ASCII,
)
VARIABLE, LOCAL = "RAY_DASHBOARD_ADDRESS", "127.0.0.1"
PORT = 8265
PATH = "/api/serve/applications/"
LIMITS = Limits(timeout=30.0, redirects=0, private=True)
HERE = frozenset({"127.0.0.1", "localhost", "::1"})
EVERYWHERE = frozenset({"0.0.0.0", "::"})


class Proxy(BaseModel):
    status: str
    node_ip: str | None = None


class Options(BaseModel):
    """How the proxies listen. Without a host it is what Serve takes by itself: this machine."""

    host: str = "127.0.0.1"
    port: int = 8000
    ssl_certfile: str | None = None


class Application(BaseModel):
    status: str
    route_prefix: str | None = None


class Serve(BaseModel):
    """What of a reply is read here."""

    proxies: dict[str, Proxy]
    applications: dict[str, Application]
    http_options: Options | None = None


def application(text: str) -> Callable[[], list[str]]:
    """The servers of an application, as `ADDRESS/NAME`: the dashboard's address, else that of the
    environment, else this machine's; the name may be left out where there is one application.
    """
    found = FORM.fullmatch(text)
    if found is None:
        raise ValueError("name the dashboard of Ray and an application: ray:HOST:8265/NAME")
    return partial(serving, found["address"] or "", found["name"] or "")


def serving(address: str, name: str) -> list[str]:
    """A server for each proxy that is well. Raises ValueError where nothing serves."""
    base = dashboard(address or os.environ.get(VARIABLE) or LOCAL)
    try:
        told = Serve.model_validate_json(Fetcher(LIMITS).get(base + PATH))
    except MediaError as exc:
        raise ValueError(f"Ray's dashboard does not tell: {exc.message}") from exc
    except ValidationError as exc:
        raise ValueError(f"what answers at {base}{PATH} is no dashboard of Ray") from exc
    options = told.http_options or Options()
    scheme = "https" if options.ssl_certfile else "http"
    prefix = prefix_of(told.applications, name).rstrip("/")
    hosts = hosts_of(told.proxies, options, asked_here=urlsplit(base).hostname in HERE)
    return [f"{scheme}://{host}:{options.port}{prefix}/v1" for host in hosts]


def dashboard(address: str) -> str:
    """An address as a URL; one without a scheme has Ray's port where it has none."""
    if "://" in address:
        return address.rstrip("/")
    return f"http://{address}" if re.search(r":\d+$", address) else f"http://{address}:{PORT}"


def prefix_of(applications: dict[str, Application], name: str) -> str:
    """The path of an application. Raises ValueError where it is not there, or not ready."""
    if not name and len(applications) == 1:
        (name,) = applications
    found = applications.get(name)
    if found is None:
        there = f"there are {', '.join(applications)}" if applications else "there is none at all"
        said = f"no application {name}" if name else "no name of an application is given"
        raise ValueError(f"Ray Serve: {said}; {there}")
    if found.status != "RUNNING":
        raise ValueError(f"Ray Serve: the application {name} is {found.status}, not RUNNING")
    if found.route_prefix is None:
        raise ValueError(f"Ray Serve: the application {name} has no route over HTTP")
    return found.route_prefix


def hosts_of(proxies: dict[str, Proxy], options: Options, *, asked_here: bool) -> list[str]:
    """Where the proxies that are well can be reached. Raises ValueError where none can."""
    well = [each.node_ip for each in proxies.values() if each.status == "HEALTHY" and each.node_ip]
    if not well:
        raise ValueError(f"Ray Serve: of its HTTP proxies ({len(proxies)}) none is HEALTHY")
    if options.host in HERE and not asked_here:
        how = "start Serve with `host` 0.0.0.0 in its HTTP options"
        raise ValueError(f"Ray Serve: its proxies listen on {options.host} alone; {how}")
    hosts = well if options.host in EVERYWHERE else [options.host]
    return [f"[{host}]" if ":" in host else host for host in dict.fromkeys(hosts)]
