"""YAML that reads back as what was written."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mirage.config.document import read_document
from mirage.config.imported.writing import Comment, to_yaml

TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.sampled_from("ab:#-{}[]'\" \n\t|>&*!%@`,?~0.")),
    st.sampled_from(["", "yes", "null", "1", "1.5", ".inf", "a: b", "a #b", "- a", "{q}", "x\n\n"]),
)
KEYS = TEXT.filter(lambda text: text != "<<")
SCALARS = st.one_of(
    TEXT, st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.floats(-1e6, 1e6)
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=8,
)


@settings(max_examples=60)
@given(st.dictionaries(KEYS, TREES, min_size=1, max_size=4))
def test_what_is_written_is_read(data: dict[str, Any]) -> None:
    """Whatever the texts look like."""
    assert read_document(to_yaml(data)).data == data


@settings(max_examples=60)
@given(st.dictionaries(KEYS, TREES, min_size=1, max_size=4))
def test_comments_change_nothing(data: dict[str, Any]) -> None:
    """Above and beside everything."""
    written = to_yaml(data, lambda path: Comment(("above", "it: all"), "beside: #it"))
    assert read_document(written).data == data


def test_it_looks_as_if_a_person_had_written_it() -> None:
    """Few quotes, texts of several lines as they are, comments where they belong."""
    data: dict[str, Any] = {
        "a": ["x", {"k": "one\ntwo\n", "path": "../a b/c.jsonl"}],
        "empty": {},
        "share": 0.5,
    }
    comments = {("a", 1): Comment(("an item",)), ("share",): Comment((), "half")}
    assert to_yaml(data, lambda path: comments.get(path, Comment())) == (
        "a:\n  - x\n  # an item\n  - k: |\n      one\n      two\n    path: ../a b/c.jsonl\n\n"
        "empty: {}\n\nshare: 0.5  # half\n"
    )
