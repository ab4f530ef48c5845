"""Base64 as it is found."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage.errors import MediaError
from mirage.store import unpacked


@given(st.binary(min_size=1))
def test_base64_is_read_in_either_alphabet_with_padding_or_without(data: bytes) -> None:
    """And white space within it, as mail has it, is passed over."""
    for text in (base64.b64encode(data), base64.urlsafe_b64encode(data), base64.encodebytes(data)):
        assert unpacked(text)[0] == data
        assert unpacked(text.rstrip(b"=\n"))[0] == data


def test_a_plain_text_has_no_flaws() -> None:
    assert unpacked(b"/9j/4A==") == (b"\xff\xd8\xff\xe0", ())


@pytest.mark.parametrize(
    ("text", "flaws"),
    [
        (b"/9j/4A", ("base64-padding",)),
        (b"_9j_4A==", ("base64-url",)),
        (b"/9j/\n4A==\n", ("base64-space",)),
        (b"_9j_ 4A", ("base64-space", "base64-url", "base64-padding")),
    ],
)
def test_every_leniency_is_named(text: bytes, flaws: tuple[str, ...]) -> None:
    assert unpacked(text) == (b"\xff\xd8\xff\xe0", flaws)


@pytest.mark.parametrize(
    "text", [b"/9j/4", b"data:image/png;base64,/9j/", b"/9j=/4A=", b"\xff\xff\xff\xff"]
)
def test_what_is_no_base64_is_refused(text: bytes) -> None:
    with pytest.raises(MediaError) as caught:
        unpacked(text)
    assert caught.value.kind == "base64"


@pytest.mark.parametrize("text", [b"", b"\n"])
def test_no_bytes_are_no_image(text: bytes) -> None:
    with pytest.raises(MediaError) as caught:
        unpacked(text)
    assert caught.value.kind == "empty"
