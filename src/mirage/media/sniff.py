"""What kind of image some bytes are: by their first bytes, never by a name or a declared type."""

from __future__ import annotations

from mirage.errors import MediaError

EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/bmp": "bmp",
    "image/tiff": "tiff",
}
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
DIB_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})


def sniff(data: bytes) -> str:
    """The media type of an image, by its signature.

    Signatures as in the WHATWG MIME Sniffing Standard, section 6.1, and TIFF 6.0, section 2 (with
    BigTIFF's 43). "BM" alone is a common beginning of text, hence BMP must also name one of the
    known sizes of its second header. Raises MediaError ("unknown").
    """
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    if data.startswith(TIFF):
        return "image/tiff"
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in DIB_HEADERS:
        return "image/bmp"
    if not data:
        raise MediaError("empty", "the image has no bytes")
    raise MediaError("unknown", f"not a known kind of image: it begins with {data[:12]!r}")


def extension(media_type: str) -> str:
    """The file extension of a media type, without a dot; "bin" for one that is not known."""
    return EXTENSIONS.get(media_type, "bin")
