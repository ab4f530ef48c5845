"""A path in a store: names as those of pathlib, objects read where they are wanted, no secrets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage.places import RemotePath, is_remote, place, relative
from mirage.places.opening import asking, without_secrets
from mirage.places.remote import State

from .stores import store

__all__ = ["store"]

WORDS = st.lists(st.from_regex(r"[a-z]{1,4}(\.[a-z]{1,5}){0,2}", fullmatch=True), min_size=2)


@given(WORDS)
def test_names_are_those_of_pathlib(words: list[str]) -> None:
    """Name, suffixes, parent and siblings of any path."""
    path, pure = RemotePath.of(f"memory://{'/'.join(words)}"), PurePosixPath(*words)
    assert (path.name, path.suffix, path.suffixes) == (pure.name, pure.suffix, pure.suffixes)
    assert str(path.parent) == f"memory://{pure.parent}"
    assert str(path.with_name("x.y")) == f"memory://{pure.with_name('x.y')}"
    assert str(path.with_suffix(".z")) == f"memory://{pure.with_suffix('.z')}"
    assert path.parent / path.name == path
    assert relative(path, RemotePath.of(f"memory://{words[0]}")) == "/".join(words[1:])


def test_a_name_is_a_path_of_this_machine_or_of_a_store(tmp_path: Path) -> None:
    """`hf://` names a dataset of the Hugging Face hub, and is neither."""
    assert place(tmp_path, "a/b.jsonl") == tmp_path / "a/b.jsonl"
    assert str(place(tmp_path, "memory://a/b.jsonl")) == "memory://a/b.jsonl"
    assert is_remote("s3://a/b")
    assert not is_remote("hf://owner/name")
    assert not is_remote("C:/a")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s4://a/b", "no kind of store"),
        ("file:///a/b", "without a scheme"),
        ("memory://", "names nothing"),
        ("s3://key:secret@bucket/b", "credentials come from the environment"),
    ],
)
def test_what_is_no_place_is_refused(url: str, said: str) -> None:
    """Without a word of what is secret in it."""
    with pytest.raises(ValueError, match=said) as caught:
        RemotePath.of(url)
    assert "secret" not in str(caught.value)


def test_an_object_is_read_where_it_is_wanted(store: Any) -> None:
    """One request for each read, of its bytes alone, and none beyond where reading shall end."""
    store.pipe_file("/a/b", bytes(range(200)))
    with RemotePath.of("memory://a/b").raw() as file:
        assert file.size == 200
        file.seek(50)
        assert file.read(3) == b"234"
        file.until = 60
        assert file.read(100) == bytes(range(53, 60))
        assert file.read(100) == b""


def test_the_state_of_an_object_changes_with_it(store: Any) -> None:
    """What was found is remembered until somebody looks again."""
    store.pipe_file("/a/b", b"one")
    path = RemotePath.of("memory://a/b")
    first = path.stat()
    store.pipe_file("/a/b", b"two")
    assert path.stat() == first
    assert path.look() != first
    assert State.of({"size": 1, "ETag": '"x"'}) != State.of({"size": 1, "ETag": '"y"'})


def test_an_object_that_is_not_there(store: Any) -> None:
    path = RemotePath.of("memory://a/b")
    assert not path.exists()
    assert not path.is_file()
    path.unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError, match=r"^memory://a/b: does not exist$"):
        path.read_bytes()


def test_errors_of_a_library_are_one_line_without_secrets() -> None:
    """Whatever kind of exception a store's library raises."""
    with pytest.raises(OSError) as caught, asking("it"):
        raise RuntimeError("two lines\n of https://h/x?sig=abc&t=1 and s://key:secret@b")
    assert str(caught.value) == "it: two lines of https://h/x?*** and s://***@b"
    with pytest.raises(PermissionError, match="access is denied"), asking("it"):
        raise PermissionError("Forbidden")


def test_a_signature_is_part_of_the_address_and_never_shown() -> None:
    """Of the web, where an address may be signed."""
    path = RemotePath.of("https://host/a/b.jsonl?sig=abc")
    assert str(path) == "https://host/a/b.jsonl"
    assert path.store.address(path.key) == "https://host/a/b.jsonl?sig=abc"
    assert "abc" not in repr(path)
    assert without_secrets("x https://host/a?sig=abc y") == "x https://host/a?*** y"


def test_no_library_is_loaded_before_a_store_is_named() -> None:
    code = "import mirage.places, mirage.api, sys; print('fsspec' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
