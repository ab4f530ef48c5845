"""A run from a store to a store: what is refused at once, and what is never written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from places.stores import names, store

from mirage.dataset import convert, inspect, verify
from mirage.errors import ConfigError

from .trial import Trial, lines, questions

__all__ = ["store"]


def far(tmp_path: Path, **keys: Any) -> Trial:
    trial = Trial(tmp_path, **keys)
    trial.set(
        source={"path": "memory://bucket/in.jsonl"}, sink={"path": "memory://bucket/out.jsonl"}
    )
    trial.set(run={"block_rows": 10})
    return trial


def test_a_run_from_a_store_to_a_store(store: Any, tmp_path: Path) -> None:
    """The dataset is that of a run on disk; repeated, nothing is sent again."""
    store.pipe_file("/bucket/in.jsonl", lines(questions(25)))
    summary = far(tmp_path).run()
    assert summary.counts.written == 25
    told = orjson.loads(orjson.dumps(summary.to_json()))
    assert told["target"] == "memory://bucket/out.jsonl"
    assert len([*summary.rows()]) == 25
    (tmp_path / "here").mkdir()
    here = Trial(tmp_path / "here", questions(25))
    here.run()
    assert store.cat_file("/bucket/out.jsonl") == here.data()
    made = store.info("/bucket/out.jsonl")
    assert far(tmp_path).run().usage.calls == 0
    assert store.info("/bucket/out.jsonl") == made
    store.rm_file("/bucket/out.jsonl")
    assert far(tmp_path).run().usage.calls == 0
    assert names(store, "/bucket") == ["in.jsonl", "out.jsonl", "out.jsonl.manifest.json"]


@pytest.mark.parametrize(
    ("keys", "path", "said"),
    [
        ({"run": {"dir": "s3://bucket/run"}}, "run.dir", "not in a store"),
        ({"source": {"path": "memory://bucket/no.jsonl"}}, "source.path", "does not exist"),
        ({"sink": {"path": "https://host/out.jsonl"}}, "sink.path", "is read, not written"),
        ({"sink": {"path": "memory://bucket/in.jsonl"}}, "sink.path", "among the rows"),
        ({"run": {"fetch": {"cache": "memory://b/c"}}}, "run.fetch.cache", "a folder here"),
        ({"source": {"image_base_path": "s4://b"}}, "source.image_base_path", "no kind of store"),
    ],
)
def test_what_cannot_be_is_a_mistake(
    keys: dict[str, Any], path: str, said: str, store: Any, tmp_path: Path
) -> None:
    """At its place, before anything is loaded."""
    store.pipe_file("/bucket/in.jsonl", lines(questions(2)))
    trial = far(tmp_path)
    trial.set(**keys)
    with pytest.raises(ConfigError) as caught:
        trial.job()
    assert {mistake.path for mistake in caught.value.mistakes} == {path}
    assert said in str(caught.value)


def test_no_secret_of_an_address_is_kept(store: Any, tmp_path: Path) -> None:
    """Neither the signature of a URL nor a key that somebody put into one."""
    store.pipe_file("/bucket/in.jsonl", lines(questions(2)))
    trial = far(tmp_path)
    base = "https://host/images?X-Amz-Signature=abc-secret"
    trial.set(source={"image_base_path": base})
    assert trial.run().counts.written == 2
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    written += store.cat_file("/bucket/out.jsonl.manifest.json")
    assert b"https://host/images?***" in written
    assert b"abc-secret" not in written
    trial.set(source={"path": "s3://key:abc-secret@bucket/in.jsonl"})
    with pytest.raises(ConfigError) as caught:
        trial.job()
    assert "abc-secret" not in str(caught.value)


def test_whole_datasets_in_a_store(store: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """They are converted, with their images, verified and inspected; refused rows are listed."""
    from media.pictures import encoded, noise

    monkeypatch.chdir(tmp_path)
    turns = [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "!"}]
    rows = [{"id": name, "image": name, "conversations": turns} for name in ("a.png", "b.png")]
    store.pipe_file("/bucket/in/rows.jsonl", lines(rows))
    store.pipe_file("/bucket/in/a.png", encoded(noise(), "PNG"))
    source, target = "memory://bucket/in/rows.jsonl", "memory://bucket/out/t.json"
    assert convert(source, target, to="sharegpt", format="llava").written == 1
    assert "out/t.json.failed.jsonl" in names(store, "/bucket")
    found = verify(target, format="sharegpt")
    assert (found.sound, found.rows, found.images) == (True, 1, 1)
    assert inspect(target).rows == 1
