"""Images come out as they went in, byte by byte, and a replaced one is noticed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from .engine import Scripted
from .trial import Trial

ROWS = 12
SINKS = ["out.jsonl", "jsonl/", "out.parquet", "parquet/", "hf/"]
FORMATS = {"jsonl/": "jsonl", "parquet/": "parquet", "hf/": "hf"}
INPUTS = [{"name": "q", "key": "q"}, {"name": "image", "key": "image", "type": "image"}]
ROW = {"q": "{q}", "image": "{image}", "answer": "{answer}"}


def picture(number: int) -> bytes:
    """JPEG, PNG, GIF and WebP in turn, each with junk behind its end that no decoder would keep."""
    buffer = BytesIO()
    kind = ("JPEG", "PNG", "GIF", "WEBP")[number % 4]
    Image.new("RGB", (9, 7), (number * 20, 10, 30)).save(buffer, kind)
    return buffer.getvalue() + (b"junk" if kind in ("JPEG", "PNG") else b"")


PICTURES = [picture(number) for number in range(ROWS)]
DIGESTS = [sha256(data).hexdigest() for data in PICTURES]


def trial_of(folder: Path, sink: str, engine: Scripted | None = None, **keys: Any) -> Trial:
    trial = Trial(folder, (), engine or Scripted(), inputs=INPUTS, output_schema=ROW)
    trial.set(sink={"path": str(folder / sink) + ("/" if sink.endswith("/") else "")})
    if sink in FORMATS:
        trial.set(sink={"format": FORMATS[sink]})
    trial.set(run={"block_rows": 5}, **keys)
    return trial


def rows_of(trial: Trial) -> list[dict[str, Any]]:
    """The rows of the dataset, in whatever format it is."""
    import orjson

    target = trial.target
    files = sorted(f for f in target.iterdir() if f.is_file()) if target.is_dir() else [target]
    rows: list[dict[str, Any]] = []
    for file in files:
        if file.suffix == ".jsonl":
            rows += [orjson.loads(line) for line in file.read_bytes().splitlines()]
        elif file.suffix == ".parquet":
            rows += pq.read_table(file).to_pylist()
        elif file.suffix == ".arrow":
            with pa.memory_map(str(file)) as stream:
                rows += pa.ipc.open_stream(stream).read_all().to_pylist()
    return rows


def digest(value: Any, trial: Trial) -> str:
    """The SHA-256 of an image in the output: bytes, a struct of them, or a path."""
    if isinstance(value, dict):
        value = value["bytes"] if value["bytes"] is not None else value["path"]
    if isinstance(value, str):
        beside = trial.target if trial.target.is_dir() else trial.target.parent
        value = (beside / value).read_bytes()
    return sha256(value).hexdigest()


def parquet(folder: Path, images: list[Any]) -> dict[str, Any]:
    path = folder / "in.parquet"
    rows = [{"q": f"row {n}", "image": image} for n, image in enumerate(images)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=4)
    return {"path": str(path)}


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("shape", ["bytes", "struct", "list"])
def test_bytes_out_of_parquet(tmp_path: Path, sink: str, shape: str) -> None:
    """Bytes, structs of datasets and lists of them reach every sink unchanged."""
    given: dict[str, list[Any]] = {
        "bytes": list(PICTURES),
        "struct": [{"bytes": data, "path": "name.png"} for data in PICTURES],
        "list": [[{"bytes": data, "path": None} for data in (d, PICTURES[0])] for d in PICTURES],
    }
    trial = trial_of(tmp_path, sink, source=parquet(tmp_path, given[shape]))
    assert trial.run().exit_code == 0
    found = [row["image"] for row in rows_of(trial)]
    if shape == "list":
        assert {digest(images[1], trial) for images in found} == {DIGESTS[0]}
        found = [images[0] for images in found]
    assert [digest(image, trial) for image in found] == DIGESTS


@pytest.mark.parametrize("sink", SINKS)
def test_paths_out_of_json_lines(tmp_path: Path, sink: str) -> None:
    """Files named by the source, alone and in lists, reach every sink unchanged; JSON lines keep
    the source's own strings.
    """
    names = [str(tmp_path / f"{number}.img") for number in range(ROWS)]
    for name, data in zip(names, PICTURES, strict=True):
        Path(name).write_bytes(data)
    rows = [{"q": "x", "image": name, "all": [name, names[0]]} for name in names]
    trial = trial_of(tmp_path, sink)
    trial.set(
        inputs=[*INPUTS, {"name": "all", "key": "all", "type": "image"}],
        output_schema={**ROW, "all": "{all}"},
    )
    trial.write(rows)
    assert trial.run().exit_code == 0
    found = rows_of(trial)
    if "jsonl" in sink:
        assert [(row["image"], row["all"]) for row in found] == [(n, [n, names[0]]) for n in names]
    assert [digest(row["image"], trial) for row in found] == DIGESTS
    assert [digest(row["all"][0], trial) for row in found] == DIGESTS
    assert {digest(row["all"][1], trial) for row in found} == {DIGESTS[0]}
    assert [sha256(Path(name).read_bytes()).hexdigest() for name in names] == DIGESTS


def test_a_sink_of_paths(tmp_path: Path) -> None:
    """With `images: path` a table keeps the source's paths."""
    path = tmp_path / "a.png"
    path.write_bytes(PICTURES[1])
    trial = trial_of(tmp_path, "out.parquet")
    trial.set(sink={"images": "path"})
    trial.write([{"q": "x", "image": str(path)}])
    trial.run()
    assert rows_of(trial)[0]["image"] == str(path)


@pytest.fixture
def named(tmp_path: Path) -> Iterator[tuple[Trial, Scripted]]:
    """Images by their names, in blocks of five."""
    engine = Scripted()
    trial = trial_of(tmp_path, "out.parquet", engine)
    for number, data in enumerate(PICTURES):
        (tmp_path / f"{number}.png").write_bytes(data)
    trial.set(inputs=[INPUTS[0], {**INPUTS[1], "image_base_path": str(tmp_path)}])
    trial.write({"q": f"row {number}", "image": f"{number}.png"} for number in range(ROWS))
    yield trial, engine


def test_a_replaced_image_is_noticed(named: tuple[Trial, Scripted], tmp_path: Path) -> None:
    """An image replaced under the same name, with the same size, costs one call and is in the new
    dataset; the others are left alone.
    """
    trial, engine = named
    trial.run()
    engine.asked.clear()
    assert trial.run().usage.calls == 0
    fresh = PICTURES[7][:-1] + bytes([PICTURES[7][-1] ^ 1])
    aside = tmp_path / "aside"
    aside.write_bytes(fresh)
    aside.replace(tmp_path / "7.png")
    trial.run()
    assert engine.asked == {"Answer this: row 7": 1}
    expected = [*DIGESTS[:7], sha256(fresh).hexdigest(), *DIGESTS[8:]]
    assert [digest(row["image"], trial) for row in rows_of(trial)] == expected


def test_a_touched_image_costs_nothing(named: tuple[Trial, Scripted], tmp_path: Path) -> None:
    """An image with another time but the same bytes is looked at again, and not paid for again."""
    trial, engine = named
    trial.run()
    engine.asked.clear()
    os.utime(tmp_path / "3.png", ns=(1, 1))
    trial.run()
    trial.run()
    assert not engine.asked


def test_a_lost_image_fails_its_record_until_it_is_back(
    named: tuple[Trial, Scripted], tmp_path: Path
) -> None:
    """An image that has gone makes its record fail; when it is back, a retry costs no call."""
    trial, engine = named
    trial.run()
    data = (tmp_path / "9.png").read_bytes()
    (tmp_path / "9.png").unlink()
    summary = trial.run()
    assert (summary.counts.written, summary.counts.failed) == (11, 1)
    assert trial.failures()[0]["kind"] == "missing"
    (tmp_path / "9.png").write_bytes(data)
    engine.asked.clear()
    assert trial.retry().exit_code == 0
    assert not engine.asked
    assert [digest(row["image"], trial) for row in rows_of(trial)] == DIGESTS


def test_rows_are_made_without_the_images_that_are_not_in_them(
    named: tuple[Trial, Scripted], tmp_path: Path
) -> None:
    """An image that was only sent may be gone when the rows are made."""
    trial, engine = named
    trial.set(output_schema={"q": "{q}", "answer": "{answer}"})

    def lose(number: int) -> None:
        if engine.asked["Answer this: row 3"]:
            (tmp_path / "3.png").unlink(missing_ok=True)

    engine.on_call = lose
    summary = trial.run()
    assert not (tmp_path / "3.png").exists()
    assert (summary.counts.written, summary.counts.failed) == (ROWS, 0)


def test_pil_images_in_memory(tmp_path: Path) -> None:
    """A PIL image, which has no original bytes, is stored as PNG, equal in pixels."""
    from mirage import run

    image = Image.frombytes("RGB", (3, 2), bytes(range(18)))
    trial = trial_of(tmp_path, "out.jsonl")
    del trial.config["source"]
    run(trial.config, [{"q": "x", "image": image}])
    stored = tmp_path / rows_of(trial)[0]["image"]
    with Image.open(stored) as opened:
        assert (opened.format, opened.tobytes()) == ("PNG", image.tobytes())
