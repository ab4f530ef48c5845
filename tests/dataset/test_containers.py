"""Rows through every kind of file and back; and what breaks the rules of archives, folders and
tables, each beside what the loader itself says of it.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import datasets
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image as Pillow

from mirage import dataset
from mirage.config.data import SourceConfig
from mirage.dataset.verification import Verification
from mirage.errors import ConfigError
from mirage.media import recognise
from mirage.record import Image
from mirage.sinks.columns import IMAGE
from mirage.sources import open_source

Row = dict[str, Any]
KEPT = {"parquet": "p.parquet", "hf": "h", "webdataset": "w/", "imagefolder": "i/"}
"""Kinds of file that hold images, and what a dataset in them is called."""


def drawn(shade: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGB", (3, 2), (shade, 7, 9)).save(buffer, kind)
    return buffer.getvalue()


def plain(value: Any) -> Any:
    """Images by their bytes, in whatever they are kept."""
    if isinstance(value, Image):
        return value.read()
    if isinstance(value, list):
        return [plain(item) for item in value]
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def rows(path: Path) -> list[Row]:
    config = SourceConfig(path=str(path))
    source = open_source(config, base=path.parent, number=0, spool=path.parent / "s", bare=True)
    records = [record for span in source.rest(()) for record in source.read(span)]
    assert [record.fault for record in records] == [None] * len(records)
    return [plain(recognise(dict(record.values))) for record in records]


def convert(source: Path, target: Path, name: str, **keys: Any) -> Path:
    """Convert without a refusal; a folder keeps its slash."""
    place = f"{target / name}/" if name.endswith("/") else str(target / name)
    done = dataset.convert(source, place, **keys)
    assert (done.refused, dict(done.lost)) == (0, {})
    return target / name


def original(folder: Path) -> tuple[Path, list[Row]]:
    """Rows of no training format, in Parquet: images alone and in lists, one of which is null."""
    table: list[Row] = [
        {
            "text": f"row {at} é",
            "score": at / 2,
            "meta": {"tags": ["a", None], "n": at},
            "image": None if at == 2 else {"bytes": drawn(at), "path": None},
            "views": [{"bytes": drawn(at, "JPEG"), "path": None}] * (at % 3 + 1),
        }
        for at in range(5)
    ]
    path = folder / "in.parquet"
    pq.write_table(pa.Table.from_pylist(table), path)
    return path, rows(path)


@pytest.mark.parametrize(("one", "other"), [*permutations(KEPT, 2)])
def test_plain_rows_pass_unchanged(tmp_path: Path, one: str, other: str) -> None:
    """From any kind of file that holds images to any other, and back, images to the byte."""
    start, expected = original(tmp_path)
    there = convert(start, tmp_path / "1", KEPT[one], to=one)
    assert rows(there) == expected
    further = convert(there, tmp_path / "2", KEPT[other], to=other)
    assert rows(further) == expected
    assert rows(convert(further, tmp_path / "3", KEPT[one], to=one)) == expected
    found = dataset.verify(further)
    assert found.sound and found.images == 4 + 9


@pytest.mark.parametrize("kind", KEPT)
def test_a_training_format_is_recognised_in_any_kind_of_file(tmp_path: Path, kind: str) -> None:
    """LLaVA into it and out again gives the same rows and images."""
    (tmp_path / "a").mkdir()
    for at in range(4):
        (tmp_path / "a" / f"{at}.png").write_bytes(drawn(at))
    said = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cat."}]
    given = [{"id": f"r{at}", "image": f"a/{at}.png", "conversations": said} for at in range(4)]
    (tmp_path / "in.json").write_bytes(orjson.dumps(given))
    kept = convert(tmp_path / "in.json", tmp_path / "out", KEPT[kind], to=kind)
    found = dataset.verify(kept)
    assert (found.format, found.rows, found.images, found.sound) == ("messages", 4, 4, True)
    assert not found.notes
    back = convert(kept, tmp_path / "back", "out.json", to="llava")
    again = orjson.loads(back.read_bytes())
    assert [{**row, "image": ""} for row in again] == [{**row, "image": ""} for row in given]
    pictures = [(back.parent / row["image"]).read_bytes() for row in again]
    assert pictures == [drawn(at) for at in range(4)]
    by_hand = dataset.convert(kept, tmp_path / "x.json", to="llava", format=kind)
    assert (by_hand.written, by_hand.refused) == (4, 0)


def test_a_kind_of_file_that_a_format_is_not_kept_in(tmp_path: Path) -> None:
    """LLaVA's loader reads no archives, and a suffix is not to be argued with."""
    (tmp_path / "in.jsonl").write_bytes(
        b'{"conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}]}'
    )
    for target, keys in [
        ("o/", {"to": "llava", "container": "webdataset"}),
        ("o.jsonl", {"to": "webdataset"}),
        ("o.tar", {"to": "imagefolder"}),
    ]:
        with pytest.raises(ConfigError, match=r"is kept in|does not go with"):
            dataset.convert(tmp_path / "in.jsonl", f"{tmp_path}/{target}", **keys)  # type: ignore[arg-type]
    done = dataset.convert(tmp_path / "in.jsonl", f"{tmp_path}/o.tar", to="messages")
    assert done.written == 1
    assert rows(tmp_path / "o.tar")[0]["messages"][0]["role"] == "user"


# -- rules -----------------------------------------------------------------------------------------


def told(path: Path) -> tuple[Verification, list[tuple[str, str, bool]]]:
    """What is said of a dataset: places without the source's number, rules, and which are notes."""
    heard: list[tuple[str, str, bool]] = []
    found = dataset.verify(
        path, report=lambda v: heard.append((v.place.partition("/")[2], v.rule, v.note))
    )
    return found, heard


def loaded(kind: str, base: Path, **keys: Any) -> Any:
    return datasets.load_dataset(kind, split="train", cache_dir=str(base / "cache"), **keys)


def tar(path: Path, *members: tuple[str, Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, value in members:
            data = value if isinstance(value, bytes) else orjson.dumps(value)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def samples(path: Path) -> list[Row]:
    """What the library `webdataset` reads."""
    return list(webdataset.WebDataset(str(path), shardshuffle=False))


def test_members_that_stand_apart(tmp_path: Path) -> None:
    """The library reads two samples of one key, each without the other's half."""
    path = tar(tmp_path / "a.tar", ("a.json", {}), ("b.json", {}), ("a.png", drawn(1)))
    found, heard = told(path)
    assert heard[0] == ("a.tar#2", "adjacent", False)
    assert found.broken == {"adjacent": 1}
    assert [sample["__key__"] for sample in samples(path)] == ["a", "b", "a"]


def test_dots_in_keys(tmp_path: Path) -> None:
    """Samples melt into one, for both readers."""
    path = tar(tmp_path / "a.tar", ("v1.1.json", {}), ("v1.2.json", {}))
    found, _ = told(path)
    assert found.broken == {"key-dots": 1}
    (sample,) = samples(path)
    assert {"1.json", "2.json"} <= sample.keys()


def test_keys_that_come_again(tmp_path: Path) -> None:
    """In one archive or in two, each is a sample of its own: worth knowing."""
    tar(tmp_path / "w" / "a.tar", ("a.json", {}), ("b.json", {}), ("a.json", {}))
    tar(tmp_path / "w" / "b.tar", ("b.json", {}))
    found, heard = told(tmp_path / "w")
    assert found.sound
    assert heard == [("a.tar#2", "duplicate-key", True), ("b.tar#0", "duplicate-key", True)]


def test_a_member_twice(tmp_path: Path) -> None:
    """Both readers stop at it."""
    path = tar(tmp_path / "a.tar", ("a.json", {}), ("a.json", {}))
    assert told(path)[0].broken == {"malformed": 1}
    with pytest.raises(ValueError, match="duplicate"):
        samples(path)


def test_a_torn_archive(tmp_path: Path) -> None:
    """What stands before the tear is looked at."""
    path = tar(tmp_path / "a.tar", ("a.json", {}), ("b.json", {"x": "y" * 2000}))
    path.write_bytes(path.read_bytes()[:2000])
    found, heard = told(path)
    assert heard == [("a.tar#1", "damaged", False)]
    assert found.rows == 2


@pytest.mark.parametrize(("at", "fails"), [(1, True), (6, False)])
def test_samples_with_other_members(tmp_path: Path, at: int, fails: bool) -> None:
    """`load_dataset` refuses it, or leaves out the image without a word; `webdataset` reads it."""
    members: list[tuple[str, Any]] = []
    for number in range(8):
        kind = "JPEG" if number == at else "PNG"
        name = "jpg" if number == at else "png"
        members += [(f"{number}.json", {}), (f"{number}.{name}", drawn(number, kind))]
    path = tar(tmp_path / "a.tar", *members)
    found, heard = told(path)
    assert found.sound and heard == [(f"a.tar#{at}", "members", True)]
    assert len(samples(path)) == 8
    if fails:
        with pytest.raises(ValueError, match="same types"):
            loaded("webdataset", tmp_path, data_files=str(path))
    else:
        assert "jpg" not in loaded("webdataset", tmp_path, data_files=str(path)).column_names


def test_a_hidden_key(tmp_path: Path) -> None:
    """`load_dataset` passes over it."""
    path = tar(tmp_path / "a.tar", ("__a.json", {"a": 1}), ("b.json", {"a": 1}))
    assert told(path)[1] == [("a.tar#0", "key-hidden", True)]
    assert len(samples(path)) == 2
    assert len(loaded("webdataset", tmp_path, data_files=str(path))) == 1


def folder(base: Path, *entries: Row, pictures: int = 2) -> Path:
    place = base / "in"
    place.mkdir()
    for at in range(pictures):
        (place / f"{at}.png").write_bytes(drawn(at))
    (place / "metadata.jsonl").write_bytes(b"".join(orjson.dumps(e) + b"\n" for e in entries))
    return place


TEXT: Row = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]}
PARTS: Row = {
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "!"}]},
    ]
}


@pytest.mark.parametrize(
    ("entries", "rules"),
    [
        ([{"file_name": "0.png"}, {"file_name": "gone.png"}], {"image-missing"}),
        ([{"file_names": ["0.png", "1.png"]}, {"file_names": []}], {"no-images"}),
        ([{"file_names": ["0.png", "1.png"]}, {"file_names": None}], {"no-images"}),
        ([{"file_name": "0.png", "a": {"file_name": "x"}}], {"file-name"}),
        ([{"file_name": "../in/0.png"}], {"outside", "no-files"}),
        ([{"file_name": None}], {"no-files"}),
        ([{"file_name": "0.png", "a": 1}, {"file_name": "1.png", "a": "x"}], {"metadata"}),
        ([{"file_name": "0.png", "a": [1]}, {"file_name": "1.png", "a": {}}], {"metadata"}),
    ],
)
def test_what_load_dataset_does_not_read_of_a_folder(
    tmp_path: Path, entries: list[Row], rules: set[str]
) -> None:
    """Every rule is one that the loader itself fails at."""
    place = folder(tmp_path, *entries)
    found, _ = told(place)
    assert {*found.broken} == rules
    with pytest.raises(Exception, match=r".+"):
        loaded("imagefolder", tmp_path, data_dir=str(place))[:]


def test_an_image_that_no_row_names(tmp_path: Path) -> None:
    """It is passed over: worth knowing, and read as it should be."""
    place = folder(tmp_path, {"file_name": "0.png"})
    found, heard = told(place)
    assert found.sound and heard == [("1.png", "unnamed", True)]
    assert len(loaded("imagefolder", tmp_path, data_dir=str(place))) == 1


def test_contents_of_two_styles(tmp_path: Path) -> None:
    """Texts and lists of parts in one column: a fault of a folder, elsewhere worth knowing."""
    place = folder(tmp_path, {"file_name": "0.png", **TEXT}, {"file_name": "1.png", **PARTS})
    assert "metadata" in told(place)[0].broken
    lines = tmp_path / "a.jsonl"
    lines.write_bytes(orjson.dumps(TEXT) + b"\n" + orjson.dumps(PARTS))
    assert told(lines)[1] == [("a.jsonl#1", "content-style", True)]
    assert len(loaded("json", tmp_path, data_files=str(lines))) == 2
    shard = tar(tmp_path / "a.tar", ("a.json", TEXT), ("b.json", PARTS))
    assert told(shard)[1] == [("a.tar#1", "content-style", True)]
    with pytest.raises(pa.ArrowTypeError):
        loaded("webdataset", tmp_path, data_files=str(shard))


def images(how: Callable[[pa.Table], pa.Table], path: Path) -> Path:
    values = [{"bytes": drawn(1), "path": None}]
    table = pa.table({"a": pa.array(values, IMAGE), "b": pa.array([values], pa.list_(IMAGE))})
    pq.write_table(how(table), path)
    return path


def test_images_that_are_not_said_to_be(tmp_path: Path) -> None:
    """Without the features in its metadata, `datasets` has structs; `mirage convert` mends it."""
    bare = images(lambda table: table, tmp_path / "in.parquet")
    found, heard = told(bare)
    assert heard == [("in.parquet", "hf-features", False)] * 2
    assert found.images == 2
    assert not isinstance(
        loaded("parquet", tmp_path, data_files=str(bare)).features["a"], datasets.Image
    )
    dataset.convert(bare, tmp_path / "out.parquet")
    assert told(tmp_path / "out.parquet")[0].sound
    mended = loaded("parquet", tmp_path, data_files=str(tmp_path / "out.parquet"))
    assert isinstance(mended.features["a"], datasets.Image)
    assert mended[0]["b"][0].getpixel((0, 0)) == (1, 7, 9)


@pytest.mark.parametrize("kind", ["parquet", "hf"])
def test_tables_that_datasets_wrote(tmp_path: Path, kind: str) -> None:
    """Its own features are understood, lists in them as well."""
    features = datasets.Features({"a": datasets.Image(), "b": datasets.List(datasets.Image())})
    rows = datasets.Dataset.from_list([{"a": drawn(1), "b": [drawn(2)]}], features=features)
    if kind == "hf":
        rows.save_to_disk(str(tmp_path / "saved"))
    else:
        rows.to_parquet(str(tmp_path / "saved"))
        (tmp_path / "saved").rename(tmp_path / "saved.parquet")
    found, _ = told(tmp_path / ("saved" if kind == "hf" else "saved.parquet"))
    assert found.sound and found.images == 2


def test_parts_of_different_columns(tmp_path: Path) -> None:
    """The first file says what columns there are; `load_dataset` fails at the other."""
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"x": [1]}), tmp_path / "in" / "part-0.parquet")
    pq.write_table(pa.table({"y": [1]}), tmp_path / "in" / "part-1.parquet")
    assert told(tmp_path / "in")[1] == [("part-1.parquet", "schema", False)]
    with pytest.raises(datasets.exceptions.DatasetGenerationError):
        loaded("parquet", tmp_path, data_files=str(tmp_path / "in" / "*.parquet"))


@pytest.mark.parametrize(
    ("id", "kept", "lost"),
    [("7", {"id": "7", "__key__": "cat"}, 1), (None, {"id": "cat"}, 0), ("cat", {"id": "cat"}, 0)],
)
def test_a_key_beside_an_id_is_kept_or_counted(
    tmp_path: Path, id: str | None, kept: Row, lost: int
) -> None:
    """As a further column where the format has such; else it is lost, which is said."""
    said = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "A cat."}]
    text = orjson.dumps({"id": id, "conversations": said})
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        info = tarfile.TarInfo("cat.json")
        info.size = len(text)
        file.addfile(info, io.BytesIO(text))
    dataset.convert(tmp_path / "a.tar", tmp_path / "a.json", to="llava")
    (row,) = orjson.loads((tmp_path / "a.json").read_bytes())
    assert row == {**kept, "conversations": said}
    done = dataset.convert(tmp_path / "a.tar", tmp_path / "a.jsonl", to="openai")
    assert done.lost == {"id": 1} | ({"meta": lost} if lost else {})
