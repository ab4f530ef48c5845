"""Parquet: what is written reads back, by pyarrow and by `datasets`, and misfits are named."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from mirage.errors import RunError
from mirage.record import Image
from mirage.sinks import rows as batching
from mirage.sinks.columns import IMAGE
from mirage.sinks.images import FOLDER

from .making import PNG, Row, errors, files, image, publish, sink, write

keys = st.sampled_from(["a", "b", "c.d", "", "é"])
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
scalars: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | text
)
scalars |= st.floats(allow_nan=False)
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(keys, v, max_size=3), max_leaves=5
)
rows = st.lists(st.dictionaries(keys, values, min_size=1, max_size=3), max_size=6)
modest = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def picture(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGB", (6, 4), colour).save(buffer, "PNG")
    return buffer.getvalue()


def read(path: Path) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return table


def load(path: Path | str, cache: Path) -> Any:
    return datasets.load_dataset(
        "parquet", data_files=str(path), split="train", cache_dir=str(cache)
    )


def same(given: Any, found: Any) -> bool:
    """Whether a table returns a value: fields that others have are null, integers may be floats,
    and an object without fields is null.
    """
    if isinstance(given, dict):
        if not given or found is None:
            return not given and (found is None or not any(v is not None for v in found.values()))
        names = given.keys() | found.keys()
        return all(same(given.get(name), found.get(name)) for name in names)
    if isinstance(given, list):
        return len(given) == len(found) and all(map(same, given, found))
    return bool(given == found) and isinstance(given, bool) == isinstance(found, bool)


@modest
@given(st.lists(rows, min_size=1, max_size=3))
def test_round_trip(tmp_path: Path, blocks: list[list[Row]]) -> None:
    """Every row comes back as it was, or is rejected with the name of its column; none is lost."""
    reports = publish(sink(tmp_path, "out.parquet"), tmp_path, *blocks)
    found = iter(read(tmp_path / "out.parquet"))
    for block, report in zip(blocks, reports, strict=True):
        assert report.rows + len(report.rejected) == len(block)
        for index, row in enumerate(block):
            if index not in errors(report):
                assert same(row, next(found))
    assert next(found, None) is None
    assert all(error.message.startswith("column '") for r in reports for _, error in r.rejected)


@modest
@given(rows, st.integers(1, 3))
def test_batches_do_not_matter(tmp_path: Path, block: list[Row], size: int) -> None:
    """The same rows in many batches give the same table as in one, and the same rejections."""
    one, many = tmp_path / "one.parquet", tmp_path / "many.parquet"
    (whole,) = publish(sink(tmp_path, one.name), tmp_path / "1", block)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batching, "BATCH_ROWS", size)
        (parts,) = publish(sink(tmp_path, many.name), tmp_path / "2", block)
    assert errors(whole) == errors(parts)
    assert read(one) == read(many)


def test_images_are_images(tmp_path: Path) -> None:
    """`datasets` decodes embedded images, alone, in lists and deep inside; the bytes are kept."""
    png, other = picture(), picture("blue")
    content = [{"type": "text", "text": "What?"}, {"type": "image", "image": image(other)}]
    block: list[Row] = [
        {
            "image": image(png, {"bytes": png, "path": "a/b.png"}),
            "images": (image(png), image(other, "c.png")),
            "none": None,
            "messages": [{"role": "user", "content": content}],
        },
        {"image": None, "images": [], "none": None, "messages": None},
    ]
    publish(sink(tmp_path, "out.parquet"), tmp_path, block)
    first, second = read(tmp_path / "out.parquet")
    assert first["image"] == {"bytes": png, "path": "a/b.png"}
    assert first["images"] == [{"bytes": png, "path": None}, {"bytes": other, "path": "c.png"}]
    assert (second["image"], second["images"]) == (None, [])
    loaded = load(tmp_path / "out.parquet", tmp_path / "cache")
    assert isinstance(loaded.features["image"], datasets.Image)
    assert loaded[0]["image"].getpixel((0, 0)) == (255, 0, 0)
    assert [each.size for each in loaded[0]["images"]] == [(6, 4)] * 2
    assert loaded[0]["messages"][0]["content"][1]["image"].getpixel((0, 0)) == (0, 0, 255)


def test_image_files_are_embedded(tmp_path: Path) -> None:
    """The bytes of a file are embedded, under the path that the source gave; a lost file is named
    as its row's error.
    """
    (tmp_path / "x.png").write_bytes(PNG)
    block: list[Row] = [
        {"image": Image(given="x.png", path=str(tmp_path / "x.png"))},
        {"image": Image(given="y.png", path=str(tmp_path / "y.png"))},
    ]
    (report,) = publish(sink(tmp_path, "out.parquet"), tmp_path, block)
    assert read(tmp_path / "out.parquet") == [{"image": {"bytes": PNG, "path": "x.png"}}]
    assert "y.png" in errors(report)[1]


def test_images_as_paths(tmp_path: Path) -> None:
    """With `images: path` a column holds strings, and bytes become files beside the table."""
    out = sink(tmp_path, "out/x.parquet", images="path", declared={"a": "image", "b": "images"})
    block: list[Row] = [
        {"a": Image(given="a.jpg", path="/base/a.jpg"), "b": None},
        {"a": image(), "b": []},
    ]
    publish(out, tmp_path, block)
    first, second = read(tmp_path / "out" / "x.parquet")
    assert (first["a"], first["b"], second["b"]) == ("a.jpg", None, [])
    assert files(tmp_path / "out")[second["a"]] == PNG
    schema = pq.read_schema(tmp_path / "out" / "x.parquet")
    assert schema.types == [pa.string(), pa.list_(pa.string())]


def test_misfit(tmp_path: Path) -> None:
    """The first type of a column wins; a row that differs is rejected by name, alone."""
    block: list[Row] = [
        {"id": "a", "score": None},
        {"id": "b", "score": 3},
        {"id": "c", "score": "high"},
        {"id": 4, "score": 1},
        {"id": "e", "score": 2.5},
        {"id": "f", "score": True},
    ]
    (report,) = publish(sink(tmp_path, "out.parquet"), tmp_path, block)
    assert errors(report) == {
        2: "column 'score': expected integer, got string",
        3: "column 'id': expected string, got integer",
        5: "column 'score': expected number, got boolean",
    }
    assert {error.kind for _, error in report.rejected} == {"column"}
    assert read(tmp_path / "out.parquet") == [
        {"id": "a", "score": None},
        {"id": "b", "score": 3.0},
        {"id": "e", "score": 2.5},
    ]


BAD: dict[str, Any] = {
    "mixed": [1, "a"],
    "float and boolean": {"deep": [[0.5, True]]},
    "bytes and string": [b"a", "b"],
    "huge": 2**63,
    "key": {1: 2},
    "bytes key": {b"a": 1},
    "surrogate": "\ud800",
    "object": object(),
    "deep": [[[]]],
    "empty": Image(given="gone", path="/no/such/file"),
}
BAD["deep"] = None
for _ in range(300):
    BAD["deep"] = [BAD["deep"]]


@pytest.mark.parametrize("name", BAD)
def test_values_without_a_type(tmp_path: Path, name: str) -> None:
    """What no column can hold costs its own row, and no other."""
    block: list[Row] = [{"a": 1, "b": None}, {"a": 2, "b": BAD[name]}, {"a": 3, "b": None}]
    (report,) = publish(sink(tmp_path, "out.parquet"), tmp_path, block)
    assert (report.rows, list(errors(report))) == (2, [1])
    assert [row["a"] for row in read(tmp_path / "out.parquet")] == [1, 3]


def test_row_without_columns(tmp_path: Path) -> None:
    """A row of nothing is rejected rather than lost; an object of nothing is null."""
    block: list[Row] = [{}, {"a": {}}, MappingProxyType({"a": {"b": {}}})]
    (report,) = publish(sink(tmp_path, "out.parquet"), tmp_path, block)
    assert errors(report) == {0: "the row has no columns"}
    assert read(tmp_path / "out.parquet") == [{"a": None}, {"a": {"b": None}}]


def test_large_integers_meet_floats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An integer that a float would round is rejected, whichever comes first, wherever it is."""
    exact, rounded = 2**53, 2**53 + 1
    column = [rounded, exact, 0.5, rounded]
    for size in (1, 2, 10):
        monkeypatch.setattr(batching, "BATCH_ROWS", size)
        block = [{"a": {"b": value}} for value in column]
        (report,) = publish(sink(tmp_path, "out.parquet"), tmp_path, block)
        assert (report.rows, list(errors(report))) == (2, [0, 3])
        assert [row["a"]["b"] for row in read(tmp_path / "out.parquet")] == [exact, 0.5]


def test_parts_unite(tmp_path: Path) -> None:
    """Types are brought together over all parts; a part that does not fit is written again."""
    blocks: list[list[Row]] = [
        [{"a": None, "b": 1, "c": {"x": 1}}],
        [{"a": "text", "b": 0.5, "c": {"y": "z"}}, {"a": 5, "b": 1, "c": None}],
        [{"a": ["list"], "b": 2, "c": None}, {"a": "more", "b": 2, "c": None}],
        [{"a": None, "b": 2**53 + 1, "c": None, "d": True}],
    ]
    out = sink(tmp_path, "out.parquet")
    parts, _ = write(out, tmp_path, *blocks)
    columns = out.columns(parts)
    assert columns is not None
    assert [str(kind) for kind in columns.types] == [
        "string",
        "double",
        "struct<x: int64, y: string>",
        "bool",
    ]
    assert [out.fits(part, columns) for part in parts] == [True, True, False, False]
    reports = publish(out, tmp_path, *blocks)
    assert [report.rows for report in reports] == [1, 1, 1, 0]
    assert [row["a"] for row in read(tmp_path / "out.parquet")] == [None, "text", "more"]


def test_fixed_columns(tmp_path: Path) -> None:
    """With given columns nothing is widened, and nothing that they lack is dropped silently."""
    out = sink(tmp_path, "out.parquet")
    parts, _ = write(out, tmp_path, [{"a": 1, "s": {"x": 1}}])
    columns = out.columns(parts)
    block: list[Row] = [
        {"a": 1.5, "s": None},
        {"a": 2, "b": 1},
        {"a": 3, "s": {"x": 1, "y": 2}},
        {"s": {"x": 7}},
    ]
    report = out.write(parts[0], iter(block), columns)
    assert (report.rows, list(errors(report))) == (1, [0, 1, 2])
    assert read(parts[0]) == [{"a": None, "s": {"x": 7}}]


def test_declared_types(tmp_path: Path) -> None:
    """Declared columns have their types where no row tells them: all null, or no row at all."""
    declared = {"text": "string", "n": "integer", "x": "number", "ok": "boolean"}
    declared |= {"image": "image", "images": "images"}
    out = sink(tmp_path, "none.parquet", declared=declared)
    publish(out, tmp_path)
    schema = pq.read_schema(tmp_path / "none.parquet")
    assert schema.names == list(declared)
    assert schema.types[:4] == [pa.string(), pa.int64(), pa.float64(), pa.bool_()]
    assert schema.types[4:] == [IMAGE, pa.list_(IMAGE)]
    nulls = dict.fromkeys(["extra", *declared])
    publish(sink(tmp_path, "null.parquet", declared=declared), tmp_path, [], [nulls])
    found = pq.read_schema(tmp_path / "null.parquet")
    assert found.names == list(nulls) and found.field("images").type == pa.list_(IMAGE)
    assert load(tmp_path / "null.parquet", tmp_path / "cache")[0] == nulls
    (report,) = publish(sink(tmp_path, "x.parquet", declared=declared), tmp_path, [{"text": 1}])
    assert errors(report) == {0: "column 'text': expected string, got integer"}


def test_row_groups_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups have at most 1,000 rows, fewer of large rows, and rows are taken as they come."""
    monkeypatch.setattr(batching, "BATCH_BYTES", 300_000)
    taken: list[int] = []

    def block() -> Iterator[Row]:
        for at in range(2500):
            taken.append(at)
            yield {"i": at, "image": image(bytes(200_000)) if at >= 2490 else None}

    out = sink(tmp_path, "out.parquet")
    part = tmp_path / f"part{out.suffix}"
    assert out.write(part, block()).rows == 2500
    meta = pq.read_metadata(part)
    groups = [meta.row_group(at).num_rows for at in range(meta.num_row_groups)]
    assert sum(groups) == 2500 and max(groups) == 1000 and groups[-9:] == [1] * 9
    assert taken == list(range(2500))


def test_blobs_are_stored_plainly(tmp_path: Path) -> None:
    """Image bytes have neither compression, statistics nor dictionary; text has all three."""
    publish(sink(tmp_path, "out.parquet"), tmp_path, [{"image": image(), "text": "a"}])
    group = pq.read_metadata(tmp_path / "out.parquet").row_group(0)
    blob, _, words = (group.column(at) for at in range(3))
    assert (blob.path_in_schema, blob.compression) == ("image.bytes", "UNCOMPRESSED")
    assert blob.statistics is None and "RLE_DICTIONARY" not in blob.encodings
    assert words.compression == "ZSTD" and words.statistics is not None


def test_folder(tmp_path: Path) -> None:
    """A folder has one numbered file for each part, all of one schema; `datasets` reads them."""
    out = sink(tmp_path, "out/", format="parquet")
    publish(out, tmp_path, [{"a": None, "i": image(picture())}], [{"a": 1, "i": None}], [])
    names = [f"part-{at:05d}-of-00003.parquet" for at in range(3)]
    assert sorted(files(tmp_path / "out")) == names
    schemas = {pq.read_schema(tmp_path / "out" / name) for name in names}
    assert len(schemas) == 1
    loaded = load(tmp_path / "out" / "*.parquet", tmp_path / "cache")
    assert loaded["a"][:] == [None, 1] and loaded[0]["i"].size == (6, 4)
    publish(out, tmp_path / "again", [{"a": 2}])
    assert sorted(files(tmp_path / "out")) == ["part-00000-of-00001.parquet"]
    (tmp_path / "out" / "part-1.parquet").touch()
    with pytest.raises(RunError, match=r"part-1\.parquet"):
        publish(out, tmp_path / "again", [{"a": 2}])


def test_empty_folder(tmp_path: Path) -> None:
    """A dataset without parts is one shard without rows."""
    publish(sink(tmp_path, "out/", format="parquet", declared={"a": "string"}), tmp_path)
    assert read(tmp_path / "out" / "part-00000-of-00001.parquet") == []


@pytest.mark.parametrize("path", ["x.parquet", "x/"])
@pytest.mark.parametrize("images", ["embed", "path"])
def test_same_bytes_each_time(tmp_path: Path, path: str, images: str) -> None:
    """Two runs over the same rows give the same files."""
    block = [{"a": at, "i": image(), "m": [{"t": "x"}, {"u": at / 2}]} for at in range(10)]
    for name in ("one", "two"):
        out = sink(tmp_path / name, path, format="parquet", images=images)
        publish(out, tmp_path / name / "work", block[:4], block[4:])
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_source_that_breaks_off(tmp_path: Path) -> None:
    """Rows that end in an error leave neither part, segments nor images."""

    def torn() -> Iterator[Row]:
        yield {"a": image()}
        raise KeyError

    out = sink(tmp_path, "out.parquet", images="path")
    with pytest.raises(KeyError):
        out.write(tmp_path / "part.parquet", torn())
    assert files(tmp_path) == {} and not list(tmp_path.glob(f"{FOLDER}/*"))
