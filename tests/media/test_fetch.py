"""One fetch stays within its limits, and goes nowhere but to public servers."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from msgspec.structs import replace

from mirage.errors import MediaError
from mirage.media.fetch import (
    DeadError,
    Door,
    Fetcher,
    Limits,
    PassingError,
    ascii_url,
    is_public,
    shown,
)

from .pictures import encoded, noise
from .site import Site, endless, send, serving, slow

PNG = encoded(noise(), "PNG")
HERE = Limits(timeout=5, private=True, retries=0, max_bytes=1_000_000)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as made:
        yield made


def get(url: str, limits: Limits = HERE) -> bytes:
    return Fetcher(limits).get(url)


def refusal(url: str, limits: Limits = HERE) -> MediaError:
    with pytest.raises(MediaError) as caught:
        get(url, limits)
    return caught.value


def test_a_body(site: Site) -> None:
    """The bytes of an answer, whatever type it claims to have."""
    assert get(site.set("/a.png", PNG, Content_Type="text/html")) == PNG


def test_connections_are_kept(site: Site) -> None:
    """One fetcher asks several times over one connection."""
    fetcher, ports = Fetcher(HERE), set[int]()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        ports.add(handler.client_address[1])
        send(handler, 200, b"x", {})

    site.answers["/a"] = answer
    assert [fetcher.get(f"{site.url}/a") for _ in range(3)] == [b"x"] * 3
    assert len(ports) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http:///a.png",
        "http://[::1/a.png",
        "http://a b/c",
        "http://host:99999/a",
        "http://x\n.org/",
        "http://user:secret@example.org/a.png",
        "http://user@example.org/a.png",
        "http://example.org/" + "a" * 9000,
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    """What is no address, or carries a password, is refused, and no password is said."""
    error = refusal(url)
    assert error.kind == "refused"
    assert "secret" not in error.message and len(error.message) < 500


@pytest.mark.parametrize(
    ("url", "wire"),
    [
        ("http://x.org", "http://x.org/"),
        ("HTTP://X.org/Ä b.png?q=é#part", "http://x.org/%C3%84%20b.png?q=%C3%A9"),
        ("https://bücher.example/a", "https://xn--bcher-kva.example/a"),
        ("http://[2001:db8::1]:8080/a%20b", "http://[2001:db8::1]:8080/a%20b"),
    ],
)
def test_addresses_on_the_wire(url: str, wire: str) -> None:
    """Letters beyond ASCII are encoded, and what is encoded stays as it is."""
    assert ascii_url(url) == wire


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.8",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:7f00:1",
        "::127.0.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "fd12:3456::1",
        "ff02::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "no address",
    ],
)
def test_addresses_that_are_not_public(host: str) -> None:
    """This machine, private networks, cloud metadata, and whatever embeds them."""
    assert not is_public(host)


@pytest.mark.parametrize(
    "host",
    ["8.8.8.8", "93.184.216.34", "::ffff:8.8.8.8", "2606:4700::1111", "2002:808:808::1"],
)
def test_addresses_that_are_public(host: str) -> None:
    """The open internet, also in other clothes."""
    assert is_public(host)


def test_this_machine_is_not_fetched_from(site: Site) -> None:
    """Without `private`, this machine is refused under all of its names, and never asked."""
    port = site.url.rpartition(":")[2]
    site.set("/a.png", PNG)
    public = replace(HERE, private=False)
    names = ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0", "127.1"]
    names += ["[::1]", "[::ffff:127.0.0.1]"] if has_ipv6() else []
    kinds = {name: refusal(f"http://{name}:{port}/a.png", public).kind for name in names}
    assert kinds == dict.fromkeys(names, "private")
    assert not site.asked
    assert get(f"http://127.0.0.1:{port}/a.png") == PNG


def has_ipv6() -> bool:
    """Whether this machine knows IPv6 at all: where it does not, nothing is connected to."""
    try:
        socket.socket(socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_a_redirect_to_this_machine(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is allowed cannot lead to one that is not: each address is looked at, after
    each redirect and each look-up, so that a name that changes its address gains nothing.
    """
    site.set("/secret.png", PNG)
    opened: list[str] = []

    def only_first(host: str) -> bool:
        opened.append(host)
        return len(opened) == 1

    monkeypatch.setattr("mirage.media.fetch.is_public", only_first)
    port = site.url.rpartition(":")[2]
    site.set("/a", b"", 302, Location=f"http://localhost:{port}/secret.png", Connection="close")
    error = refusal(f"{site.url}/a", replace(HERE, private=False))
    assert error.kind == "private"
    assert len(opened) >= 2
    assert site.asked == {"/a": 1}


def test_only_internet_sockets() -> None:
    """A socket of another family, such as a file's, is not opened."""
    import pycurl

    door = Door(open_to_all=True)
    assert door.open(0, (socket.AF_UNIX, socket.SOCK_STREAM, 0, "/run/x")) == pycurl.SOCKET_BAD
    assert door.refused


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/a", "gopher://127.0.0.1/", "dict://x/"]
)
def test_a_redirect_to_another_scheme(site: Site, target: str) -> None:
    """Only http and https are followed."""
    assert refusal(site.set("/a", b"", 301, Location=target)).kind == "refused"


def test_redirects(site: Site) -> None:
    """Redirects are followed up to their limit, relative ones as well."""
    site.set("/3", PNG)
    site.set("/2", b"", 302, Location="/3")
    first = site.set("/1", b"x" * 100, 301, Location="/2")
    assert get(first) == PNG
    assert refusal(first, replace(HERE, redirects=1)).kind == "redirects"
    assert refusal(first, replace(HERE, redirects=0)).kind == "redirects"
    loop = site.set("/loop", b"", 302, Location="/loop")
    site.asked.clear()
    assert refusal(loop).kind == "redirects"
    assert site.asked["/loop"] == HERE.redirects + 1


def test_nothing_is_told_to_others(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No password of .netrc, no cookie, no proxy from the environment, no referrer."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1/")
    site.set("/2", PNG)
    first = site.set("/1", b"", 302, Location=f"{site.url}/2", Set_Cookie="a=b")
    fetcher = Fetcher(HERE)
    assert fetcher.get(first) == fetcher.get(first) == PNG
    sent = {name.lower() for headers in site.headers for name in headers}
    assert sent == {"host", "user-agent", "accept"}


def test_a_body_without_end(site: Site) -> None:
    """A body that grows beyond the limit is cut off on the way, not when it has come."""
    site.answers["/endless"] = endless
    began = time.perf_counter()
    assert refusal(f"{site.url}/endless").kind == "large"
    assert time.perf_counter() - began < 4


def test_a_body_that_is_announced_as_too_large(site: Site) -> None:
    """A length beyond the limit is refused before the body is read."""
    small = replace(HERE, max_bytes=len(PNG))
    assert get(site.set("/fits", PNG), small) == PNG
    error = refusal(site.set("/more", PNG + b"x"), small)
    assert (error.kind, type(error)) == ("large", MediaError)


def test_a_server_that_takes_its_time(site: Site) -> None:
    """The whole of a fetch has an end, and may be tried again."""
    site.answers["/slow"] = slow
    error = refusal(f"{site.url}/slow", replace(HERE, timeout=0.3))
    assert (error.kind, type(error)) == ("timeout", PassingError)


def test_a_torn_body(site: Site) -> None:
    """A body shorter than announced is a fault that may pass."""
    torn = site.set("/torn", PNG[:100], Content_Length=str(len(PNG)), Connection="close")
    error = refusal(torn, replace(HERE, timeout=2))
    assert isinstance(error, PassingError)


@pytest.mark.parametrize("status", [404, 410])
def test_dead(site: Site, status: int) -> None:
    """404 and 410 say that there is no such image."""
    assert isinstance(refusal(site.set("/a", b"gone", status)), DeadError)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_faults_that_may_pass(site: Site, status: int) -> None:
    """Overload and trouble of the server may pass; Retry-After is told."""
    error = refusal(site.set("/a", b"", status, Retry_After="7"))
    assert isinstance(error, PassingError)
    assert (error.kind, error.retry_after) == (f"http_{status}", 7.0)


@pytest.mark.parametrize("status", [400, 401, 403, 405, 451])
def test_faults_that_do_not_pass(site: Site, status: int) -> None:
    """Other refusals are neither dead nor tried again."""
    error = refusal(site.set("/a", b"", status))
    assert (error.kind, type(error)) == (f"http_{status}", MediaError)


def test_answers_that_are_no_image(site: Site) -> None:
    """A status between 200 and 400 without a body to follow is an error."""
    assert refusal(site.set("/a", b"", 304)).kind == "http_304"


def test_nobody_there() -> None:
    """A server that is not there may be there later."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert isinstance(refusal(f"http://127.0.0.1:{port}/a"), PassingError)
    assert isinstance(refusal("http://no-such-host.invalid/a"), PassingError)


def test_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that nobody vouches for is not believed; SSL_CERT_FILE vouches."""
    certificate = Path(__file__).parents[1] / "engines" / "localhost.pem"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def answer() -> None:
        for _ in range(2):
            raw, _ = listener.accept()
            try:
                with context.wrap_socket(raw, server_side=True) as tls:
                    tls.recv(10_000)
                    tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            except OSError:
                raw.close()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    url = f"https://localhost:{port}/a"
    assert refusal(url).kind == "certificate"
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert get(url) == b"ok"
    listener.close()


def test_urls_in_messages() -> None:
    """A message shows a short address, and no password."""
    assert shown("https://me:pw@x.org/a?b=c@d") == "'https://x.org/a?b=c@d'"
    assert len(shown("http://x.org/" + "a" * 9000)) < 220
