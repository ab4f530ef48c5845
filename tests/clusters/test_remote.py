"""Runs from S3 and to S3: a real server beside the tests, real processes, every request counted."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from trust.trial import SCHEMA, Trial, lines, questions

from mirage.engines.mock import Behaviour, MockServer, running
from mirage.errors import ConfigError, RunError, SourceChangedError

pytestmark = pytest.mark.scale
pytest.importorskip("moto", reason="pip install 'mirage-engine[scale]'")
pytest.importorskip("s3fs", reason="pip install 'mirage-engine[remote]'")

MOUNTED = {
    "AWS_ACCESS_KEY_ID": "the-id",
    "AWS_SECRET_ACCESS_KEY": "the-secret-of-the-bucket",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
BLOCK = 100


@dataclass(frozen=True)
class Bucket:
    """A bucket of a server, filled and looked at behind the back of the run."""

    name: str
    files: Any
    log: Path

    def put(self, name: str, data: bytes) -> None:
        self.files.pipe_file(f"{self.name}/{name}", data)

    def get(self, name: str) -> bytes:
        return bytes(self.files.cat_file(f"{self.name}/{name}"))

    def names(self) -> list[str]:
        found = self.files.find(self.name)
        return sorted(each.removeprefix(f"{self.name}/") for each in found)

    def url(self, name: str) -> str:
        return f"s3://{self.name}/{name}"

    def requests(self, name: str, method: str = "GET") -> list[dict[str, Any]]:
        """The requests for an object so far."""
        entries = map(orjson.loads, self.log.read_bytes().splitlines())
        path = f"/{self.name}/{name}"
        return [each for each in entries if (each["path"], each["method"]) == (path, method)]

    def sent(self, name: str) -> int:
        return sum(each["sent"] for each in self.requests(name))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of an S3 server, and its log."""
    log = tmp_path_factory.mktemp("s3") / "requests.log"
    command = [sys.executable, str(Path(__file__).with_name("s3_server.py")), str(log)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}", log
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def bucket(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Bucket:
    import s3fs

    address, log = server
    for name, value in {**MOUNTED, "AWS_ENDPOINT_URL": address}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem(use_listings_cache=False)
    name = f"b{abs(hash(request.node.name)):x}"
    files.mkdir(name)
    return Bucket(name, files, log)


@pytest.fixture
def model() -> Iterator[MockServer]:
    with running(Behaviour(latency=0.005)) as server:
        yield server


def here(tmp_path: Path, rows: list[Any], model: MockServer, **keys: Any) -> bytes:
    """What a run on this machine's disk makes of the same rows."""
    folder = tmp_path / "here"
    folder.mkdir()
    trial = Trial(folder, rows, model.base_url, **keys)
    assert trial.run().counts.written == len(rows)
    return trial.data()


def far(tmp_path: Path, bucket: Bucket, model: MockServer, source: str, **keys: Any) -> Trial:
    trial = Trial(tmp_path, via=model.base_url, **keys)
    trial.set(source={"path": bucket.url(source)}, sink={"path": bucket.url("out/train.jsonl")})
    trial.set(run={"block_rows": BLOCK})
    return trial


def command(trial: Trial, *words: str) -> subprocess.Popen[str]:
    (trial.folder / "config.yaml").write_bytes(orjson.dumps(trial.config))
    path = str(trial.folder / "config.yaml")
    return subprocess.Popen(
        [sys.executable, "-m", "mirage", "run", path, "--json", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_dataset_is_that_of_a_run_on_disk(
    tmp_path: Path, bucket: Bucket, model: MockServer
) -> None:
    """Byte for byte, from several objects, plain and compressed; the manifest stands beside it, and
    no key of the store is written down anywhere.
    """
    rows = questions(450)
    bucket.put("in/part-2.jsonl", lines(rows[:200]))
    bucket.put("in/part-10.jsonl.gz", gzip.compress(lines(rows[200:])))
    bucket.put("in/.hidden.jsonl", b"not read")
    trial = far(tmp_path, bucket, model, "in/*")
    summary = trial.run()
    assert (summary.counts.written, summary.exit_code) == (450, 0)
    assert bucket.get("out/train.jsonl") == here(tmp_path, rows, model)
    assert [name for name in bucket.names() if name.startswith("out/")] == [
        "out/train.jsonl",
        "out/train.jsonl.manifest.json",
    ]
    assert orjson.loads(bucket.get("out/train.jsonl.manifest.json"))["rows"] == 450
    assert len([*summary.rows()]) == 450
    assert trial.run().usage.calls == 0
    assert len(bucket.requests("out/train.jsonl", "PUT")) == 1
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert MOUNTED["AWS_SECRET_ACCESS_KEY"].encode() not in kept


def test_each_worker_reads_its_own_blocks(
    tmp_path: Path, bucket: Bucket, model: MockServer
) -> None:
    """Three processes: the owner reads all once, to find the blocks; every block is then asked for
    as a range of its own, once for its questions and once for its part.
    """
    rows = [{"q": f"{number} " + "x" * 30_000} for number in range(600)]
    data = lines(rows)
    bucket.put("in.jsonl", data)
    trial = far(tmp_path, bucket, model, "in.jsonl")
    process = command(trial, "--workers", "3")
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert orjson.loads(out)["counts"]["written"] == 600
    assert bucket.get("out/train.jsonl") == here(tmp_path, rows, model)
    spans = [
        (span["start"], span["stop"])
        for line in (trial.run_dir / "blocks.jsonl").read_bytes().splitlines()
        for span in orjson.loads(line)["spans"]
    ]
    assert len(spans) == 6
    asked = bucket.requests("in.jsonl")
    assert all(each["range"] for each in asked)
    ends = {int(each["range"].rpartition("-")[2]) + 1 for each in asked}
    assert {stop for _, stop in spans} <= ends
    looks = 10 * (1 << 20)
    assert bucket.sent("in.jsonl") <= 3 * len(data) + looks


def test_parquet_is_read_by_row_groups(tmp_path: Path, bucket: Bucket, model: MockServer) -> None:
    """The owner reads the footer alone; the rows of a group are read where they are wanted."""
    rows = [{"q": f"question {number}", "unread": os.urandom(20_000)} for number in range(400)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet", row_group_size=BLOCK)
    data = (tmp_path / "in.parquet").read_bytes()
    bucket.put("in.parquet", data)
    trial = far(tmp_path, bucket, model, "in.parquet", output_schema=SCHEMA)
    trial.set(sink={"path": bucket.url("out/train.parquet")})
    assert trial.run().counts.written == 400
    (tmp_path / "out.parquet").write_bytes(bucket.get("out/train.parquet"))
    assert pq.read_table(tmp_path / "out.parquet").column("q").to_pylist() == [
        row["q"] for row in rows
    ]
    assert bucket.sent("in.parquet") <= 2 * len(data) + len(data) // 2
    largest = max(each["sent"] for each in bucket.requests("in.parquet"))
    assert largest < len(data) // 4


def test_a_run_that_was_killed_goes_on(tmp_path: Path, bucket: Bucket, model: MockServer) -> None:
    """Finished rows are not asked about again, and the dataset is the same."""
    rows = questions(600)
    bucket.put("in.jsonl", lines(rows))
    trial = far(tmp_path, bucket, model, "in.jsonl")
    process = command(trial)
    deadline = time.monotonic() + 100
    while model.stats.calls < 200:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert "out/train.jsonl" not in bucket.names()
    assert trial.run().counts.written == 600
    assert model.stats.calls <= 600 + 16
    assert bucket.get("out/train.jsonl") == here(tmp_path, rows, model)


def test_an_object_that_was_replaced(tmp_path: Path, bucket: Bucket, model: MockServer) -> None:
    """It is noticed by its ETag, though size and name are the same; one that has only grown goes
    on.
    """
    rows = questions(150)
    bucket.put("in.jsonl", lines(rows))
    trial = far(tmp_path, bucket, model, "in.jsonl")
    assert trial.run().counts.written == 150
    bucket.put("in.jsonl", lines([*rows, {"q": "one more"}]))
    assert trial.run().counts.written == 151
    assert model.stats.calls == 151
    bucket.put("in.jsonl", lines([*rows[:-1], {"q": "question 14X"}, {"q": "one more"}]))
    with pytest.raises(SourceChangedError, match=r"in\.jsonl: rows"):
        trial.run()


def test_a_transfer_that_breaks_off_leaves_the_old_dataset(
    tmp_path: Path, bucket: Bucket, model: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large object appears when its last part is acknowledged, and not before."""
    monkeypatch.setattr("mirage.places.sending.PIECE", 5 << 20)
    rows = [{"q": f"{number} " + "x" * 40_000} for number in range(300)]
    bucket.put("in.jsonl", lines(rows))
    bucket.put("out/train.jsonl", b'{"old": 1}\n')
    trial = far(tmp_path, bucket, model, "in.jsonl")
    tear = bucket.log.with_suffix(".tear")
    tear.touch()
    try:
        with pytest.raises(RunError, match="access is denied"):
            trial.run()
        assert bucket.get("out/train.jsonl") == b'{"old": 1}\n'
    finally:
        tear.unlink()
    assert trial.run().counts.written == 300
    assert model.stats.calls == 300
    assert bucket.get("out/train.jsonl") == here(tmp_path, rows, model)


def test_a_folder_of_parts(tmp_path: Path, bucket: Bucket, model: MockServer) -> None:
    """A mark stands in it last; a smaller dataset takes away what is left of the larger one, and
    what is not ours is refused.
    """
    bucket.put("in.jsonl", lines(questions(250)))
    trial = far(tmp_path, bucket, model, "in.jsonl")
    trial.set(sink={"path": bucket.url("parts/"), "format": "jsonl"})
    assert trial.run().counts.written == 250
    parts = [f"parts/part-0000{number}.jsonl" for number in range(3)]
    assert bucket.names() == ["in.jsonl", "parts.manifest.json", "parts/.mirage.json", *parts]
    trial.set(source={"limit": 90}, run={"dir": str(tmp_path / "second")})
    assert trial.run().counts.written == 90
    assert bucket.names()[2:] == ["parts/.mirage.json", parts[0]]
    bucket.put("parts/notes.txt", b"mine")
    with pytest.raises(ConfigError, match=r"parts/notes\.txt is not part of a dataset"):
        trial.run()
    assert bucket.get("parts/notes.txt") == b"mine"


def test_images_beside_a_dataset(tmp_path: Path, bucket: Bucket, model: MockServer) -> None:
    """They are read below `image_base_path` when they are asked for; those that the dataset keeps
    are sent before it; one that is missing fails its record alone.
    """
    Image.new("RGB", (9, 9), "teal").save(tmp_path / "a.png")
    picture = (tmp_path / "a.png").read_bytes()
    bucket.put("images/a.png", picture)
    rows = [{"q": "?", "image": "a.png"}, {"q": "?", "image": "b.png"}]
    rows += [{"q": "?", "image": "../in.jsonl"}]
    bucket.put("in.jsonl", lines(rows))
    trial = far(tmp_path, bucket, model, "in.jsonl")
    image = {"name": "i", "key": "image", "type": "image", "image_base_path": bucket.url("images")}
    trial.set(inputs=[*trial.config["inputs"], image], output_schema={**SCHEMA, "i": "{i}"})
    trial.set(sink={"path": bucket.url("out/t.parquet"), "images": "embed"})
    summary = trial.run()
    assert dict(summary.counts.failures) == {"media/missing": 1, "media/outside": 1}
    (tmp_path / "t.parquet").write_bytes(bucket.get("out/t.parquet"))
    assert pq.read_table(tmp_path / "t.parquet").to_pylist()[0]["i"]["bytes"] == picture


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("s3://no-such-bucket-here/in.jsonl", "does not exist"),
        ("{bucket}/denied/in.jsonl", "access is denied"),
        ("{bucket}/nothing-*.jsonl", "no file matches"),
    ],
)
def test_what_cannot_be_read_is_one_clear_line(
    tmp_path: Path, bucket: Bucket, model: MockServer, source: str, said: str
) -> None:
    """A missing bucket, a 403, a pattern that means nothing: known before a model is called."""
    trial = far(tmp_path, bucket, model, "in.jsonl")
    trial.set(source={"path": source.replace("{bucket}", f"s3://{bucket.name}")})
    with pytest.raises(ConfigError) as caught:
        trial.run()
    (mistake,) = caught.value.mistakes
    assert said in mistake.message
    assert "\n" not in mistake.message
    assert mistake.path == "source.path"


def test_a_bucket_to_write_to_is_missing(tmp_path: Path, bucket: Bucket, model: MockServer) -> None:
    """It is known before the first call, not after the last one."""
    bucket.put("in.jsonl", lines(questions(3)))
    trial = far(tmp_path, bucket, model, "in.jsonl")
    trial.set(sink={"path": "s3://no-such-bucket-here/out.jsonl"})
    with pytest.raises(ConfigError, match=r"no-such-bucket-here.*does not exist"):
        trial.run()


def test_no_credentials(
    tmp_path: Path, bucket: Bucket, model: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says which variables are missing."""
    import s3fs

    bucket.put("in.jsonl", lines(questions(3)))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    s3fs.S3FileSystem.clear_instance_cache()
    trial = far(tmp_path, bucket, model, "in.jsonl")
    with pytest.raises(ConfigError, match="no credentials were found; set") as caught:
        trial.run()
    assert all("\n" not in mistake.message for mistake in caught.value.mistakes)
