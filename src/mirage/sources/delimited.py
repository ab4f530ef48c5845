"""CSV and TSV: a header row, quoted fields that may hold line breaks; all values stay strings."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping

from mirage.places import Place
from mirage.sources.bytewise import BOM, Bytewise, Split
from mirage.sources.streams import ByteStream

BREAKS = b"\r\n"

# The library refuses fields above 128 KiB unless it is told otherwise, for the whole process.
csv.field_size_limit(2**31 - 1)


class Delimited(Bytewise):
    """Spans are in bytes. A row has as many fields as the header, or is malformed.

    A quote that is never closed takes the rest of the file into its row: one fault, which says so.
    """

    blank = BREAKS

    def __init__(self, delimiter: str) -> None:
        super().__init__()
        self.delimiter = delimiter

    def split(self, stream: ByteStream) -> Iterator[Split]:
        header = stream.at == 0
        lines = iter(stream)
        for line in lines:
            raw = self._quoted(line, lines) if b'"' in line else line
            row = raw.removeprefix(BOM).strip(BREAKS) if header else raw.strip(BREAKS)
            yield raw, 1 if row and not header else 0
            header = header and not row

    def head(self, path: Place) -> list[str]:
        """The names of the columns."""
        with self.streams.at(path) as stream:
            for raw, _ in self.split(stream):
                if row := raw.removeprefix(BOM).strip(BREAKS):
                    names = self._fields(row)
                    if twice := sorted({name for name in names if names.count(name) > 1}):
                        raise ValueError(f"the header names a column twice: {', '.join(twice)}")
                    return names
        return []

    def parse(self, raw: bytes, head: list[str]) -> Mapping[str, str]:
        fields = self._fields(raw)
        if len(fields) != len(head):
            raise ValueError(f"{len(fields)} fields, where the header has {len(head)}")
        return dict(zip(head, fields, strict=True))

    def _fields(self, raw: bytes) -> list[str]:
        text = io.StringIO(raw.decode(), newline="")
        try:
            return next(csv.reader(text, delimiter=self.delimiter, strict=True))
        except csv.Error as exc:
            raise ValueError(str(exc)) from exc

    def _quoted(self, line: bytes, lines: Iterator[bytes]) -> bytes:
        """The line, and those that a quoted field draws in, as the library sees it."""
        taken = [line]

        def feed() -> Iterator[str]:
            yield line.decode("latin-1")
            for following in lines:
                taken.append(following)
                yield following.decode("latin-1")

        reader = csv.reader(feed(), delimiter=self.delimiter)
        next(reader, None)
        return b"".join(taken)
