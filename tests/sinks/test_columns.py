"""Types come together by one rule: null gives way, integers widen, objects unite."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirage.sinks.columns import (
    IMAGE,
    NULL,
    ConflictError,
    cast,
    conform,
    features,
    holds,
    leaves,
    named,
    plain,
    unite,
)

I64, F64, TEXT, BOOL = pa.int64(), pa.float64(), pa.string(), pa.bool_()


def struct(**fields: pa.DataType) -> pa.DataType:
    return pa.struct(list(fields.items()))


names = st.sampled_from(["a", "b", "c"])
types: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([NULL, I64, F64, TEXT, BOOL, IMAGE]),
    lambda inner: (
        inner.map(pa.list_)
        | st.dictionaries(names, inner, min_size=1, max_size=3).map(lambda d: struct(**d))
    ),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("have", "new", "both"),
    [
        (NULL, TEXT, TEXT),
        (TEXT, NULL, TEXT),
        (I64, F64, F64),
        (F64, I64, F64),
        (pa.list_(NULL), pa.list_(I64), pa.list_(I64)),
        (struct(a=I64), struct(b=TEXT), struct(a=I64, b=TEXT)),
        (struct(b=TEXT, a=NULL), struct(a=F64), struct(b=TEXT, a=F64)),
        (pa.list_(struct(a=I64)), pa.list_(struct(a=F64)), pa.list_(struct(a=F64))),
    ],
)
def test_unite(have: pa.DataType, new: pa.DataType, both: pa.DataType) -> None:
    """Two types that go together become one, in the field order of the first."""
    assert unite(have, new, "x") == both


@pytest.mark.parametrize(
    ("have", "new", "message"),
    [
        (I64, TEXT, "column 'x': expected integer, got string"),
        (BOOL, I64, "column 'x': expected boolean, got integer"),
        (TEXT, pa.list_(TEXT), "column 'x': expected string, got list of string"),
        (struct(a=I64), TEXT, "column 'x': expected object with a, got string"),
        (pa.list_(struct(a=I64)), pa.list_(struct(a=TEXT)), r"column 'x\[\].a': expected integer"),
        (IMAGE, pa.list_(IMAGE), "column 'x': expected image, got list of image"),
    ],
)
def test_conflict(have: pa.DataType, new: pa.DataType, message: str) -> None:
    """Types that differ are a conflict that names the field; settled, the first stays."""
    with pytest.raises(ConflictError, match=message):
        unite(have, new, "x")
    assert unite(have, new, "x", settle=True) == have


def test_conflict_within_an_object() -> None:
    """Settling a conflict of one field still unites the others."""
    have, new = struct(a=I64, b=NULL), struct(a=TEXT, b=TEXT, c=BOOL)
    assert unite(have, new, "x", settle=True) == struct(a=I64, b=TEXT, c=BOOL)


@settings(max_examples=100)
@given(types, types)
def test_union_holds_both(one: pa.DataType, other: pa.DataType) -> None:
    """What two types become holds either, and uniting once more changes nothing."""
    assert unite(one, one, "x") == one and unite(NULL, one, "x") == one
    settled = unite(one, other, "x", settle=True)
    assert holds(settled, one)
    try:
        both = unite(one, other, "x")
    except ConflictError:
        assert not holds(settled, other)
        return
    assert both == settled
    assert holds(both, one) and holds(both, other)
    assert unite(both, other, "x") == both


@settings(max_examples=60)
@given(st.lists(types, min_size=1, max_size=4))
def test_cast_follows_the_rule(several: list[pa.DataType]) -> None:
    """Arrow casts a column of every type to one that holds it, and keeps its nulls."""
    both = NULL
    for one in several:
        both = unite(both, one, "x", settle=True)
    for one in several:
        if holds(both, one):
            table = conform(pa.table({"x": pa.nulls(3, one)}), pa.schema([("x", both)]))
            assert table.column("x").null_count == 3 and table.schema.field("x").type == both


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([[None, None], None, [], [None]], pa.list_(I64), None),
        ([[1, None], None, [], [2]], pa.list_(F64), None),
        (
            [[{"a": 1}, None], None],
            pa.list_(struct(b=TEXT, a=F64)),
            [[{"b": None, "a": 1}, None], None],
        ),
        ([{"a": [None]}, None, {"a": None}], struct(a=pa.list_(struct(c=I64))), None),
        ([None, None], struct(a=I64), None),
        ([], pa.list_(TEXT), None),
    ],
)
def test_cast(values: list[Any], kind: pa.DataType, expected: list[Any] | None) -> None:
    """Values survive the cast, of a slice as well as of the whole, and the array is valid."""
    array = pa.array(values, pa.array(values).type)
    for part in (slice(0, None), slice(1, None)):
        found = cast(array[part], kind)
        found.validate(full=True)
        assert (found.type, found.to_pylist()) == (kind, (expected or values)[part])


@pytest.mark.parametrize(
    ("fields", "image"),
    [
        ({"bytes": pa.binary(), "path": TEXT}, True),
        ({"path": TEXT, "bytes": pa.binary()}, True),
        ({"bytes": pa.binary(), "path": NULL}, True),
        ({"bytes": NULL, "path": TEXT}, True),
        ({"bytes": NULL, "path": NULL}, False),
        ({"bytes": TEXT, "path": TEXT}, False),
        ({"bytes": pa.binary(), "path": TEXT, "size": I64}, False),
    ],
)
def test_plain(fields: dict[str, pa.DataType], image: bool) -> None:
    """Bytes and a path are an image, also where either was null throughout, and inside lists."""
    found = plain(pa.list_(pa.field("element", struct(**fields))))
    assert (found == pa.list_(IMAGE)) == image


def test_named() -> None:
    """Declared images are structs, or strings where only paths are kept."""
    declared = {"a": "image", "b": "images", "c": "number"}
    assert named(declared, embed=True) == {"a": IMAGE, "b": pa.list_(IMAGE), "c": F64}
    assert named(declared, embed=False) == {"a": TEXT, "b": pa.list_(TEXT), "c": F64}


def test_features_and_leaves() -> None:
    """The metadata is what `datasets` writes, and leaf paths are those of a Parquet schema."""
    deep = pa.list_(struct(role=TEXT, images=pa.list_(IMAGE), score=F64))
    text, number = ({"dtype": name, "_type": "Value"} for name in ("string", "float64"))
    images = {"feature": {"_type": "Image"}, "_type": "List"}
    inner = {"role": text, "images": images, "score": number}
    assert features({"m": deep, "i": IMAGE}) == {
        "m": {"feature": inner, "_type": "List"},
        "i": {"_type": "Image"},
    }
    assert [path for path, _ in leaves(deep, "m")] == [
        "m.list.element.role",
        "m.list.element.images.list.element.bytes",
        "m.list.element.images.list.element.path",
        "m.list.element.score",
    ]
