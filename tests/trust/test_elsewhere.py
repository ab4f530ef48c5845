"""Images that are not plain files (URLs, members of archives, WebDataset) go all the way."""

from __future__ import annotations

import io
import shutil
import signal
import tarfile
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from media.site import Site, send, serving

from mirage.errors import ConfigError, RunError
from mirage.media import web

from .engine import Scripted, Seeing
from .test_images import DIGESTS, PICTURES, ROW
from .test_stopping import wait_for
from .trial import Trial, started

IMAGE = {"name": "image", "key": "image", "type": "image"}
INPUTS = [{"name": "q", "key": "q"}, IMAGE]
COUNT = len(PICTURES)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(web, "FIRST_PAUSE", 0.01)
    with serving() as made:
        for number, data in enumerate(PICTURES):
            made.set(f"/{number}.png", data)
        yield made


def trial_of(folder: Path, engine: Scripted, sink: str = "out.jsonl", **fetch: Any) -> Trial:
    trial = Trial(folder, (), engine, inputs=INPUTS, output_schema=ROW)
    trial.set(sink={"path": str(folder / sink)}, run={"block_rows": 5})
    fetch = {"cache": str(folder / "cache"), "private": True, "retries": 1, **fetch}
    trial.set(run={"fetch": fetch})
    return trial


def rows(site: Site, count: int = COUNT) -> list[dict[str, Any]]:
    return [{"q": f"row {n}", "image": f"{site.url}/{n}.png"} for n in range(count)]


def embedded(trial: Trial) -> list[str]:
    images = pq.read_table(trial.target).column("image").to_pylist()
    return [sha256(image["bytes"]).hexdigest() for image in images]


# -- URLs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sink", ["out.jsonl", "out.parquet"])
def test_urls(tmp_path: Path, site: Site, sink: str) -> None:
    """A model sees the bytes; JSON lines keep the URL, Parquet embeds the bytes; each image is
    fetched once, also by a resumed run, another sink and a retry.
    """
    engine = Seeing()
    trial = trial_of(tmp_path, engine, sink)
    trial.write(rows(site))
    assert trial.run().exit_code == 0
    assert sorted(digest for [digest] in engine.saw) == sorted(DIGESTS)
    if sink.endswith("jsonl"):
        assert [row["image"] for row in trial.output()] == [row["image"] for row in rows(site)]
    else:
        assert embedded(trial) == DIGESTS
    trial.append([{"q": "row 0 again", "image": f"{site.url}/0.png"}])
    trial.set(sink={"path": str(tmp_path / "second.parquet")})
    trial.run()
    assert embedded(trial) == [*DIGESTS, DIGESTS[0]]
    assert set(site.asked.values()) == {1}


def test_a_retry_fetches_only_what_failed(tmp_path: Path, site: Site) -> None:
    """A passing fault fails its record; when it is over, a retry brings the image."""
    trial = trial_of(tmp_path, engine := Seeing(), "out.parquet")
    trial.write(rows(site))
    site.set("/3.png", b"", 503)
    assert trial.run().counts.failed == 1
    (failed,) = trial.failures()
    assert (failed["boundary"], failed["kind"]) == ("media", "http_503")
    assert site.asked["/3.png"] == 2
    site.asked.clear()
    site.set("/3.png", PICTURES[3])
    assert trial.retry("media").exit_code == 0
    assert site.asked == {"/3.png": 1}
    assert embedded(trial) == DIGESTS
    assert len(engine.saw) == COUNT


def test_a_lost_cache(tmp_path: Path, site: Site) -> None:
    """Where the cache is gone, images are fetched again, and no model is asked again."""
    trial = trial_of(tmp_path, engine := Seeing(), "out.parquet")
    trial.write(rows(site))
    trial.run()
    shutil.rmtree(tmp_path / "cache")
    site.set("/7.png", PICTURES[7] + b"another")
    trial.run()
    assert len(engine.saw) == COUNT + 1, "but for the image that is not what it was"
    assert embedded(trial)[:7] == DIGESTS[:7]
    assert embedded(trial)[7] == sha256(PICTURES[7] + b"another").hexdigest()


@pytest.mark.parametrize("dead", ["fail", "drop", "none"])
def test_dead_addresses(tmp_path: Path, site: Site, dead: str) -> None:
    """A dead image fails its record, drops it, or is null in the output and not sent."""
    trial = trial_of(tmp_path, engine := Seeing(), dead=dead)
    del site.answers["/1.png"]
    trial.write(rows(site, 3))
    summary = trial.run()
    counts = summary.counts
    expected = {"fail": (2, 0, 1), "drop": (2, 1, 0), "none": (3, 0, 0)}[dead]
    assert (counts.written, counts.dropped, counts.failed) == expected
    assert sorted(engine.saw) == sorted(
        [[DIGESTS[0]], [DIGESTS[2]], *([[]] if dead == "none" else [])]
    )
    if dead == "none":
        assert [row["image"] is None for row in trial.output()] == [False, True, False]
    if dead == "drop":
        assert counts.drops == {"dead image: image": 1}
    trial.forget()
    trial.set(sink={"path": str(tmp_path / "out.parquet")})
    trial.run()
    assert site.asked["/1.png"] == 1, "the dead are remembered"
    images = pq.read_table(trial.target).column("image").to_pylist()
    assert len(images) == counts.written
    assert images.count(None) == (dead == "none")


def test_a_list_of_urls(tmp_path: Path, site: Site) -> None:
    """Lists are fetched whole, equal addresses once; a dead one among them fails the record."""
    trial = trial_of(tmp_path, engine := Seeing(), dead="none")
    urls = [f"{site.url}/{n}.png" for n in (0, 1, 0)]
    trial.write([{"q": "a", "image": urls}, {"q": "b", "image": [urls[0], f"{site.url}/none"]}])
    assert trial.run().counts.failed == 1
    assert engine.saw == [[DIGESTS[0], DIGESTS[1], DIGESTS[0]]]
    assert site.asked == {"/0.png": 1, "/1.png": 1, "/none": 1}
    assert trial.failures()[0]["kind"] == "dead"


def test_few_at_once_from_one_host(tmp_path: Path, site: Site) -> None:
    """No more images are under way from one host than the configuration says."""
    trial = trial_of(tmp_path, Seeing(), per_host=2)
    trial.write(rows(site))
    trial.run()
    assert site.busiest <= 2


def test_private_addresses_need_leave(tmp_path: Path, site: Site) -> None:
    """Without `private` this machine is not asked, whatever a row says."""
    trial = trial_of(tmp_path, engine := Seeing(), private=False)
    trial.write(rows(site, 2))
    assert trial.run().counts.failed == 2
    assert {failed["kind"] for failed in trial.failures()} == {"private"}
    assert not engine.saw and not site.asked


def test_urls_without_the_key(tmp_path: Path, site: Site) -> None:
    """Without `run.fetch` nothing is fetched; with it, the same run goes on."""
    trial = trial_of(tmp_path, Seeing())
    fetch = trial.config["run"].pop("fetch")
    trial.write(rows(site, 2))
    assert trial.run().counts.failed == 2
    assert "run.fetch" in trial.failures()[0]["message"]
    assert not site.asked
    trial.set(run={"fetch": fetch})
    assert trial.run().exit_code == 0


def test_a_cache_that_cannot_be_written_stops_the_run(tmp_path: Path, site: Site) -> None:
    """Where nothing can be kept, the run stops, and no record fails for it."""
    (tmp_path / "file").touch()
    trial = trial_of(tmp_path, Seeing(), cache=str(tmp_path / "file"))
    trial.write(rows(site, 2))
    with pytest.raises(RunError, match="cannot be written"):
        trial.run()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_while_it_fetches(
    tmp_path: Path, site: Site, how: signal.Signals
) -> None:
    """What was fetched is kept; a later run brings the rest, and no record has failed."""
    for number in range(COUNT):
        site.answers[f"/slow-{number}"] = partial(late, PICTURES[number])
    trial = trial_of(tmp_path, Seeing(), "out.parquet", per_host=2)
    trial.write({"q": f"{n}", "image": f"{site.url}/slow-{n}"} for n in range(COUNT))
    process = started(trial)
    wait_for(lambda: site.asked.total() > 4)
    process.send_signal(how)
    assert process.wait(20) == (130 if how is signal.SIGINT else -how)
    assert site.asked.total() < COUNT
    summary = trial.run()
    assert (summary.exit_code, summary.counts.failed) == (0, 0)
    assert embedded(trial) == DIGESTS
    again = [path for path, times in site.asked.items() if times > 1]
    assert len(again) <= (2 if how is signal.SIGKILL else 0)


def late(data: bytes, handler: BaseHTTPRequestHandler) -> None:
    time.sleep(0.3)
    send(handler, 200, data, {})


def test_a_python_step_gets_the_bytes(tmp_path: Path, site: Site) -> None:
    """A function of the user's own gets what was fetched."""
    (tmp_path / "own.py").write_text("def size(image):\n    return len(image)\n")
    trial = trial_of(tmp_path, Seeing())
    step = {
        "name": "answer",
        "type": "python",
        "file": str(tmp_path / "own.py"),
        "function": "size",
    }
    trial.set(outputs=[{**step, "args": {"image": "{image}"}}])
    trial.write(rows(site, 2))
    trial.run()
    assert [row["answer"] for row in trial.output()] == [len(data) for data in PICTURES[:2]]


def test_a_python_step_whose_image_is_damaged(tmp_path: Path) -> None:
    """An image that a step cannot get is that record's error, and says what is wrong."""
    (tmp_path / "own.py").write_text("def size(image):\n    return len(image)\n")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("a.png", PICTURES[1])
        archive.writestr("empty.png", b"")
    trial = trial_of(tmp_path, Seeing())
    step = {"name": "answer", "type": "python", "args": {"image": "{image}"}, "function": "size"}
    trial.set(outputs=[{**step, "file": str(tmp_path / "own.py")}])
    trial.set(inputs=[INPUTS[0], {**IMAGE, "image_base_path": str(tmp_path / "images.zip")}])
    trial.write([{"q": "a", "image": "a.png"}, {"q": "b", "image": "empty.png"}])
    assert trial.run().counts.written == 1
    (failed,) = trial.failures()
    assert (failed["boundary"], failed["kind"], failed["step"]) == ("media", "empty", "answer")


def test_strange_keys(tmp_path: Path) -> None:
    """What is wrong with the key is said before anything runs."""
    for wrong in ({"dead": "skip"}, {"timeout": 0}, {"proxy": "x"}):
        with pytest.raises(ConfigError, match=r"run\.fetch"):
            trial_of(tmp_path, Seeing(), **wrong).job()


# -- archives --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sink", ["out.jsonl", "out.parquet"])
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_archives(tmp_path: Path, sink: str, kind: str) -> None:
    """Members of an archive are seen by a model, named in JSON lines and embedded in Parquet; the
    archive lies as it lay.
    """
    path = tmp_path / f"images.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for number, data in enumerate(PICTURES):
                archive.writestr(f"images/{number}.img", data)
    else:
        add(path, {f"images/{number}.img": data for number, data in enumerate(PICTURES)})
    trial = trial_of(tmp_path, engine := Seeing(), sink)
    trial.set(inputs=[INPUTS[0], {**IMAGE, "image_base_path": f"{path}/images"}])
    names = [f"{number}.img" for number in range(COUNT)]
    trial.write({"q": name, "image": name} for name in [*names, "none.img"])
    assert trial.run().counts.failed == 1
    assert sorted(digest for [digest] in engine.saw) == sorted(DIGESTS)
    if sink.endswith("jsonl"):
        assert [row["image"] for row in trial.output()] == names
    else:
        assert embedded(trial) == DIGESTS
    assert trial.failures()[0]["kind"] == "missing"
    engine.saw.clear()
    path.touch()
    trial.run()
    assert not engine.saw, "a touched archive is looked at again, and nothing is paid for again"


def add(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


# -- WebDataset ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_webdataset(tmp_path: Path, suffix: str) -> None:
    """Shards are read in blocks, images as bytes, and come out as they went in."""
    for shard in range(2):
        files: dict[str, bytes] = {}
        for number in range(shard, COUNT, 2):
            files[f"{number:03}.json"] = orjson.dumps({"q": f"row {number}"})
            files[f"{number:03}.img"] = PICTURES[number]
        add(tmp_path / f"shard-{shard}.{suffix}", files)
    trial = trial_of(tmp_path, engine := Seeing(), "out.parquet")
    trial.set(source={"path": str(tmp_path / f"shard-*.{suffix}")})
    trial.set(inputs=[{"name": "q", "key": "json.q"}, {**IMAGE, "key": "img"}])
    assert trial.run().exit_code == 0
    order = [*range(0, COUNT, 2), *range(1, COUNT, 2)]
    assert pq.read_table(trial.target).column("q").to_pylist() == [f"row {n}" for n in order]
    assert embedded(trial) == [DIGESTS[n] for n in order]
    assert len(engine.saw) == COUNT
