"""Images by URL are fetched once, kept, and remembered as dead where they are."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirage.errors import EngineError, MediaError
from mirage.media import locate, picture
from mirage.media import web as module
from mirage.media.fetch import DeadError, Limits, PassingError
from mirage.media.web import Web, filled, host, url_of
from mirage.record import Abilities, Image

from .pictures import encoded, noise, png_header
from .site import Site, serving

PNG = encoded(noise(), "PNG")
HERE = Limits(timeout=5, private=True, retries=2, max_bytes=1_000_000)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as made:
        yield made


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Web:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    return Web(tmp_path / "cache", HERE)


def refusal(web: Web, url: str) -> MediaError:
    with pytest.raises(MediaError) as caught:
        web.fetch(url)
    return caught.value


def kept(web: Web) -> list[str]:
    return sorted(str(file) for file in Path(web.cache).rglob("*") if file.is_file())


def test_fetched_once(site: Site, web: Web) -> None:
    """An image is a file of the cache from the start, and is there once it has been fetched."""
    url = site.set("/a.png?size=1", PNG)
    image = locate(url, None, web)
    assert isinstance(image, Image)
    assert image == Image(given=url, path=web.place(url))
    with pytest.raises(MediaError, match="no such file"):
        picture(image, Abilities())
    web.fetch(url)
    web.fetch(url)
    Web(Path(web.cache), HERE).fetch(url)
    assert picture(image, Abilities()).data == PNG
    assert site.asked == {"/a.png?size=1": 1}
    assert url_of(image) == url


def test_values(site: Site, web: Web) -> None:
    """A URL may stand alone, in a list, in a struct; a base for paths does not matter to it."""
    url = site.set("/a.png", PNG)
    struct = {"bytes": None, "path": url}
    assert locate([url, PNG], None, web) == (web.image(url, url), Image(given=PNG, data=PNG))
    found = locate(struct, Path("/nowhere"), web)
    assert isinstance(found, Image)
    assert (found.given, url_of(found)) == (struct, url)
    assert url_of(Image(given=PNG, data=PNG)) is None
    assert url_of(Image(given="a.png", path="/a.png")) is None


def test_without_web_the_key_is_named() -> None:
    """Where nothing says that URLs are fetched, the error names the key that does."""
    with pytest.raises(MediaError, match=r"run\.fetch") as caught:
        locate("https://example.org/a.png", None)
    assert caught.value.kind == "url"


@pytest.mark.parametrize("status", [404, 410])
def test_the_dead_are_remembered(site: Site, web: Web, status: int) -> None:
    """A dead address is asked once, and the message names what remembers it."""
    url = site.set("/a", b"", status)
    assert isinstance(refusal(web, url), DeadError)
    again = refusal(web, url)
    assert isinstance(again, DeadError)
    assert f"HTTP {status}" in again.message and web.place(url) in again.message
    assert site.asked["/a"] == 1
    Path(web.place(url) + module.TAG).unlink()
    site.set("/a", PNG)
    web.fetch(url)


def test_a_torn_memory_is_a_memory(site: Site, web: Web) -> None:
    """A mark whose content is gone still says that the image is dead."""
    url = site.set("/a", b"", 404)
    refusal(web, url)
    Path(web.place(url) + module.TAG).write_bytes(b"{")
    assert "does not exist" in refusal(web, url).message


def test_passing_faults_are_tried_again(site: Site, web: Web) -> None:
    """What may pass is tried a bounded number of times, and is not remembered."""
    url = site.set("/a", b"", 503)
    error = refusal(web, url)
    assert isinstance(error, PassingError)
    assert (error.kind, error.attempts) == ("http_503", 3)
    assert site.asked["/a"] == 3
    site.set("/a", PNG)
    web.fetch(url)
    assert filled(web.place(url))


def test_retry_after(site: Site, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry-After is waited out, unless it is longer than anybody would wait."""
    waited: list[float] = []
    monkeypatch.setattr(module, "wait", lambda seconds, ask_leave: waited.append(seconds))
    refusal(web, site.set("/a", b"", 429, Retry_After="7"))
    assert waited == [7.0, 7.0]
    refusal(web, site.set("/b", b"", 429, Retry_After="86400"))
    assert (waited, site.asked["/b"]) == ([7.0, 7.0], 1)


def test_nobody_waits_for_a_run_that_is_stopped(site: Site, web: Web) -> None:
    """A pause ends as soon as there is no point in trying again."""

    def ask_leave() -> None:
        raise EngineError("halted", "stopped")

    url = site.set("/a", b"", 503, Retry_After="50")
    began = time.perf_counter()
    with pytest.raises(EngineError):
        web.fetch(url, ask_leave)
    assert time.perf_counter() - began < 5
    assert site.asked["/a"] == 1


def test_other_refusals_are_not_tried_again(site: Site, web: Web) -> None:
    """A 403 is no death, and asking again at once would not help."""
    url = site.set("/a", b"", 403)
    assert (refusal(web, url).kind, site.asked["/a"]) == ("http_403", 1)
    refusal(web, url)
    assert site.asked["/a"] == 2


@pytest.mark.parametrize(
    ("data", "kind", "asked"),
    [
        (b"<html>gone</html>", "unknown", 1),
        (b"", "empty", 1),
        (png_header(30_000, 30_000), "bomb", 1),
        (PNG[:-20], "truncated", 3),
    ],
)
def test_only_images_are_kept(site: Site, web: Web, data: bytes, kind: str, asked: int) -> None:
    """A page, a bomb or half an image is not kept; what is cut off is tried again."""
    url = site.set("/a", data)
    error = refusal(web, url)
    assert error.kind == kind and url in error.message
    assert site.asked["/a"] == asked
    assert kept(web) == []


def test_a_torn_file_is_fetched_again(site: Site, web: Web) -> None:
    """A file that a power cut left empty does not count."""
    url = site.set("/a", PNG)
    place = Path(web.place(url))
    place.parent.mkdir(parents=True)
    place.touch()
    web.fetch(url)
    assert place.read_bytes() == PNG


def test_two_at_once(site: Site, web: Web) -> None:
    """Threads and processes that fetch the same image leave one whole file."""
    url = site.set("/a", PNG)
    code = (
        "import sys; from pathlib import Path\n"
        "from mirage.media.fetch import Limits\nfrom mirage.media.web import Web\n"
        "Web(Path(sys.argv[1]), Limits(private=True)).fetch(sys.argv[2])"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, web.cache, url]) for _ in range(2)]
    threads = [threading.Thread(target=web.fetch, args=(url,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait(60) for other in others] == [0, 0]
    assert kept(web) == [web.place(url)]
    assert Path(web.place(url)).read_bytes() == PNG


def test_a_cache_that_cannot_be_written(site: Site, tmp_path: Path) -> None:
    """A cache where no file can be is the machine's trouble, not a dead image."""
    (tmp_path / "file").touch()
    web = Web(tmp_path / "file", HERE)
    with pytest.raises(OSError):
        web.fetch(site.set("/a", PNG))


def test_dead_images_as_null(site: Site, tmp_path: Path) -> None:
    """With `dead: none` what is known to be dead is null; in a list it stays an error."""
    web = Web(tmp_path / "cache", HERE, dead="none")
    url = site.set("/a", b"", 404)
    alive = site.set("/b", PNG)
    assert locate(url, None, web) is not None
    refusal(web, url)
    assert locate(url, None, web) is None
    assert locate({"path": url}, None, web) is None
    with pytest.raises(MediaError, match="does not exist"):
        locate([alive, url], None, web)


@pytest.mark.parametrize(
    ("url", "name"),
    [("http://X.org:80/a", "x.org:80"), ("https://x.org", "x.org"), ("http://[::1/", "")],
)
def test_hosts(url: str, name: str) -> None:
    """Connections are counted by host and port."""
    assert host(url) == name


@pytest.mark.parametrize("url", ["http://x/\ud800", "https://x/" + "a" * 20_000])
def test_places_of_odd_addresses(web: Web, url: str) -> None:
    """Every address has a place of its own, of bounded length, and the odd ones are refused."""
    assert len(os.path.basename(web.place(url))) == 64  # noqa: PTH119
    assert refusal(web, url).kind == "refused"
