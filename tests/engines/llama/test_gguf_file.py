"""What a GGUF file says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirage.engines import weights
from mirage.engines.llama.gguf_file import read_model_file
from mirage.engines.weights import content_digest

pytest.importorskip("gguf")

from ..tiny_gguf import CONTEXT, SPECIAL, write_model, write_projector


def test_what_the_header_says(tmp_path: Path) -> None:
    """Name, context and the strings of control tokens."""
    found = read_model_file(write_model(tmp_path / "m.gguf"))
    assert (found.name, found.context, found.control) == ("tiny", CONTEXT, frozenset(SPECIAL))
    assert read_model_file(write_projector(tmp_path / "p.gguf")).control == frozenset()


@pytest.mark.parametrize("keep", [0, 3, 4, 20, 100, 2000])
def test_torn_files_are_refused(tmp_path: Path, keep: int) -> None:
    """Wherever the header is cut off, a ValueError names the file."""
    whole = write_model(tmp_path / "m.gguf").read_bytes()
    torn = tmp_path / "torn.gguf"
    torn.write_bytes(whole[:keep])
    with pytest.raises(ValueError, match=r"torn\.gguf"):
        read_model_file(torn)


def test_hostile_lengths_are_refused(tmp_path: Path) -> None:
    """A string or an array that claims to be longer than the file allocates nothing."""
    head = b"GGUF" + (3).to_bytes(4, "little") + bytes(8) + (1).to_bytes(8, "little")
    for rest in (b"\xff" * 8, (1).to_bytes(8, "little") + b"k\x09\0\0\0\x04\0\0\0" + b"\xff" * 8):
        file = tmp_path / "bad.gguf"
        file.write_bytes(head + rest)
        with pytest.raises(ValueError, match=r"bad\.gguf"):
            read_model_file(file)


def test_the_digest_is_of_the_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another name is the same model; another weight, size or sample is not."""
    one = write_model(tmp_path / "one.gguf", seed=1)
    same = write_model(tmp_path / "same.gguf", seed=1)
    other = write_model(tmp_path / "other.gguf", seed=2)
    assert content_digest(one) == content_digest(same) != content_digest(other)
    monkeypatch.setattr(weights, "WHOLE", 1000)
    monkeypatch.setattr(weights, "SAMPLE", 100)
    assert content_digest(one) == content_digest(same) != content_digest(other)
