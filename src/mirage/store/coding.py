"""Base64 as it is found in image stores: read leniently, and every leniency named.

The usual text (standard alphabet, padded) is decoded in one pass; only another one is looked at.
"""

from __future__ import annotations

import pybase64

from mirage.errors import MediaError

MAX_TEXT = 1 << 29
"""The longest text that is read: no image needs more, and a missing quote may seem to."""
SPACE = b" \t\r\n"
STANDARD = bytes.maketrans(b"-_", b"+/")
NOTES = ("base64-space", "base64-url")
FLAWS = {
    "base64-space": "the base64 has white space in it",
    "base64-url": "the base64 is in the url-safe alphabet",
    "base64-padding": "the base64 is not padded: readers that ask for padding fail",
}
"""What may be odd about a text that can be read; NOTES among them break no rule of the format."""


def unpacked(text: bytes) -> tuple[bytes, tuple[str, ...]]:
    """The bytes in a text, and its flaws. Raises MediaError: "base64", or "empty"."""
    try:
        return full(pybase64.b64decode(text, validate=True)), ()
    except ValueError:
        data, flaws = mended(text)
        return full(data), flaws


def full(data: bytes) -> bytes:
    if not data:
        raise MediaError("empty", "there is no image: the base64 is empty")
    return data


def mended(text: bytes) -> tuple[bytes, tuple[str, ...]]:
    flaws = []
    dense = text.translate(None, SPACE)
    if len(dense) != len(text):
        flaws.append("base64-space")
    plain = dense.translate(STANDARD)
    if plain != dense:
        flaws.append("base64-url")
    if missing := -len(plain) % 4:
        flaws.append("base64-padding")
        plain += b"=" * missing
    try:
        return pybase64.b64decode(plain, validate=True), tuple(flaws)
    except ValueError as exc:
        raise MediaError("base64", f"this is no base64: {exc}") from None


def encoded(data: bytes) -> bytes:
    return pybase64.b64encode(data)
