"""Servers behind Ray Serve, of which a stand-in of Ray's dashboard tells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from media.site import Site, serving
from trust.trial import Trial, questions

from mirage.api import check
from mirage.errors import ConfigError
from mirage.scale.servers.serve import application, dashboard

from .stand_ins import APPLICATIONS, told
from .stand_ins import application as app

ANYWHERE = {"host": "0.0.0.0", "port": 8000}
ONE = ("10.0.0.1", "HEALTHY")


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.delenv("RAY_DASHBOARD_ADDRESS", raising=False)
    with serving() as site:
        yield site


def found(site: Site, name: str, *proxies: tuple[str | None, str], **keys: Any) -> list[str]:
    site.set(APPLICATIONS, told(*proxies, **keys))
    return application(f"{site.url.removeprefix('http://')}{name}")()


def test_the_proxies_of_an_application(site: Site) -> None:
    """Those that are well, at the application's route."""
    proxies = [ONE, ("10.0.0.2", "HEALTHY"), ("10.0.0.3", "DRAINING"), ("10.0.0.4", "UNHEALTHY")]
    options = {"host": "0.0.0.0", "port": 9000}
    both = {"llm": app(route_prefix="/llm"), "root": app()}
    urls = found(site, "/llm", *proxies, options=options, **both)
    assert urls == ["http://10.0.0.1:9000/llm/v1", "http://10.0.0.2:9000/llm/v1"]
    urls = found(site, "/root", *proxies, options=options, **both)
    assert urls == ["http://10.0.0.1:9000/v1", "http://10.0.0.2:9000/v1"]


def test_proxies_with_certificates_and_long_addresses(site: Site) -> None:
    """Both are written as URLs have it."""
    options = {"host": "::", "port": 443, "ssl_certfile": "cert.pem"}
    assert found(site, "", ("fd00::1", "HEALTHY"), options=options, llm=app()) == [
        "https://[fd00::1]:443/v1"
    ]


@pytest.mark.parametrize("options", [None, {"port": 8000}, {"host": "127.0.0.1"}])
def test_proxies_that_listen_on_their_own_machine(
    site: Site, options: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So Serve does by itself. They can be reached from where the dashboard is, and only there."""
    assert found(site, "", ONE, options=options, llm=app()) == ["http://127.0.0.1:8000/v1"]
    monkeypatch.setattr("mirage.scale.servers.serve.HERE", {"127.0.0.1"})
    elsewhere = site.url.replace("127.0.0.1", "localhost")
    with pytest.raises(ValueError, match=r"listen on 127.0.0.1 alone; start Serve with"):
        application(elsewhere)()


@pytest.mark.parametrize(
    ("name", "keys", "says"),
    [
        ("/chat", {"llm": app(), "b": app()}, "no application chat; there are llm, b"),
        ("", {"llm": app(), "b": app()}, "no name of an application is given; there are llm, b"),
        ("/chat", {}, "no application chat; there is none at all"),
        ("", {"llm": app("DEPLOYING")}, "the application llm is DEPLOYING, not RUNNING"),
        ("", {"llm": app(route_prefix=None)}, "the application llm has no route"),
    ],
)
def test_an_application_that_does_not_serve(
    site: Site, name: str, keys: dict[str, Any], says: str
) -> None:
    """It is not there, not ready, or not meant for HTTP."""
    with pytest.raises(ValueError, match=says):
        found(site, name, ONE, options=ANYWHERE, **keys)


@pytest.mark.parametrize("proxies", [[], [(None, "HEALTHY"), ("10.0.0.1", "STARTING")]])
def test_no_proxy_that_is_well(site: Site, proxies: list[tuple[str | None, str]]) -> None:
    """There is no server then."""
    with pytest.raises(ValueError, match=rf"HTTP proxies \({len(proxies)}\) none is HEALTHY"):
        found(site, "", *proxies, options=ANYWHERE, llm=app())


def test_whose_dashboard_is_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is named, else the environment's; never by way of a proxy."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("RAY_DASHBOARD_ADDRESS", f"{site.url}/")
    site.set(APPLICATIONS, told(ONE, options=ANYWHERE, llm=app(route_prefix="/llm")))
    for text in ("", "/", "/llm", site.url, f"{site.url}/llm"):
        assert application(text)() == ["http://10.0.0.1:8000/llm/v1"]
    monkeypatch.setenv("RAY_DASHBOARD_ADDRESS", "http://127.0.0.1:1")
    assert application(f"{site.url}/llm")() == ["http://10.0.0.1:8000/llm/v1"]
    with pytest.raises(ValueError, match=r"dashboard does not tell: .*127.0.0.1"):
        application("")()


def test_a_dashboard_has_a_port() -> None:
    """Ray's own, where the address has neither port nor scheme."""
    assert dashboard("head") == "http://head:8265"
    assert dashboard("[::1]:80") == "http://[::1]:80"
    assert dashboard("https://ray.example.org/") == "https://ray.example.org"


@pytest.mark.parametrize(
    ("data", "status", "says"),
    [
        (b"<html>hello</html>", 200, "is no dashboard of Ray"),
        (b'{"applications": []}', 200, "is no dashboard of Ray"),
        (b"", 404, "HTTP 404"),
        (b"", 401, "HTTP 401"),
        (b"", 302, "redirects"),
    ],
)
def test_an_answer_of_somebody_else(site: Site, data: bytes, status: int, says: str) -> None:
    """Nothing is followed, and nothing is guessed."""
    site.set("/login", told(ONE, options=ANYWHERE, llm=app()))
    site.set(APPLICATIONS, data, status, Location="/login")
    with pytest.raises(ValueError, match=says):
        application(site.url)()
    assert not site.asked["/login"]


@pytest.mark.parametrize("text", ["head:port/llm", "me:pw@head", "head?a=b", "ftp://head", "//llm"])
def test_what_names_no_dashboard(tmp_path: Path, text: str) -> None:
    """It is a mistake before Ray is asked, and has its place."""
    trial = Trial(tmp_path, questions(3), f"ray:{text}")
    with pytest.raises(ConfigError, match=r"engine.base_url: name the dashboard of Ray"):
        check(trial.config)


def test_a_check_needs_no_ray(tmp_path: Path) -> None:
    """Only a run asks."""
    trial = Trial(tmp_path, questions(3), "ray:127.0.0.1:1/llm")
    assert check(trial.config).engines["default"].capacity == 16
    with pytest.raises(ConfigError, match=r"engine.base_url: Ray's dashboard does not tell"):
        trial.run()
