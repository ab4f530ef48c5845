"""A path in a store behind a URL: what sources and sinks ask of a `pathlib.Path`, and no more.

What a store says of an object is remembered by the path that found it and by those made from it:
a run asks once for each object. `look` asks again.
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import PurePath, PurePosixPath
from typing import Any

from msgspec import Struct
from xxhash import xxh3_64_intdigest

from mirage.places.opening import SCHEME, USER, WEB, asking, check, filesystem

MARKS = ("ETag", "etag", "md5Hash", "content_md5", "Content-MD5", "generation")
MARKER = ".mirage.json"
"""Put into a folder that is a dataset when it is complete: its files, and how large they are."""
BUCKETS = frozenset({"s3", "s3a", "gs", "gcs"})
TIMES = ("LastModified", "Last-Modified", "updated", "last_modified", "mtime", "created")


class State(Struct, frozen=True):
    """What a store says of an object, in the words of `os.stat`.

    `st_mtime_ns` is no time: it is another number once the object has been replaced, made of its
    ETag, or of the time of its last change where it has none.
    """

    st_size: int
    st_mtime_ns: int
    folder: bool = False
    st_ino: int = 0

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> State:
        marks = [info[name] for name in MARKS if info.get(name)]
        marks = marks or [info[name] for name in TIMES if info.get(name)]
        number = xxh3_64_intdigest(str(marks[0]).encode()) >> 1 if marks else 0
        return cls(int(info.get("size") or 0), number, info.get("type") == "directory")


class Store(Struct, eq=False, dict=True):
    """One store, opened when it is first asked; `query` is what every address in it ends in."""

    scheme: str
    query: str = ""
    states: dict[str, State] = {}

    @cached_property
    def files(self) -> Any:
        return filesystem(self.scheme)

    def address(self, key: str) -> str:
        """An object's name as the library wants it."""
        return f"{self.scheme}://{key}{self.query}" if self.scheme in WEB else key


class RemotePath:
    """`scheme://key`; the key of S3 begins with the bucket, that of the web with the host.

    It is no struct: in JSON it shall be its address, and nothing of its store.
    """

    __slots__ = ("key", "scheme", "store")

    def __init__(self, scheme: str, key: str, store: Store) -> None:
        self.scheme = scheme
        self.key = key
        self.store = store

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __deepcopy__(self, memo: object) -> RemotePath:
        return self

    @classmethod
    def of(cls, url: str) -> RemotePath:
        """The path that a URL means. Raises ValueError: no such store, no library, a secret in
        it.
        """
        found = SCHEME.match(url)
        if found is None:
            raise ValueError(f"{url!r} is no URL")
        if USER.search(url):
            raise ValueError(
                "a user or a key stands in the address: credentials come from the environment"
            )
        scheme, rest = found[1].lower(), url[found.end() :]
        check(scheme)
        key, mark, query = rest.partition("?") if scheme in WEB else (rest, "", "")
        folder = key.endswith("/")
        key = posixpath.normpath(key) + ("/" if folder else "") if key else ""
        if key.strip("/.") == "":
            raise ValueError(f"{scheme}:// names nothing: give a bucket and a path")
        return cls(scheme, key, Store(scheme, mark + query))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.key}"

    def __truediv__(self, name: str | PurePath) -> RemotePath:
        return self._at(f"{self.key.rstrip('/')}/{name}" if str(name) != "." else self.key)

    def _at(self, key: str) -> RemotePath:
        return RemotePath(self.scheme, key, self.store)

    # -- names -----------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.key.rstrip("/").rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def suffixes(self) -> list[str]:
        return PurePosixPath(self.name).suffixes

    @property
    def parts(self) -> tuple[str, ...]:
        return parts_of(str(self))

    @property
    def parent(self) -> RemotePath:
        return self._at(self.key.rstrip("/").rpartition("/")[0])

    def with_name(self, name: str) -> RemotePath:
        return self.parent / name

    def with_suffix(self, suffix: str) -> RemotePath:
        return self.with_name(PurePosixPath(self.name).with_suffix(suffix).name)

    def relative_to(self, root: RemotePath) -> PurePosixPath:
        return PurePosixPath(self.key).relative_to(root.key)

    def absolute(self) -> RemotePath:
        return self

    # -- what is there ---------------------------------------------------------------------------

    def look(self) -> State:
        """What the store says of the object now. Raises OSError."""
        with asking(self):
            state = State.of(self.store.files.info(self.store.address(self.key)))
        self.store.states[self.key] = state
        return state

    def stat(self) -> State:
        """What the store said of the object. Raises OSError."""
        return self.store.states.get(self.key) or self.look()

    def look_for(self) -> State | None:
        """What the store says of the object now; None where there is none. Raises OSError."""
        self.store.states.pop(self.key, None)
        try:
            return self.look()
        except FileNotFoundError:
            return None

    def check_bucket(self) -> None:
        """Raise FileNotFoundError where the bucket does not exist, if the store has such."""
        if self.scheme in BUCKETS:
            bucket = self.key.partition("/")[0]
            with asking(f"{self.scheme}://{bucket}"):
                self.store.files.info(bucket)

    def exists(self) -> bool:
        return self.key in self.store.states or self.look_for() is not None

    def is_dir(self) -> bool:
        return self.exists() and self.stat().folder

    def is_file(self) -> bool:
        return self.exists() and not self.stat().folder

    def walk(self) -> Iterator[RemotePath]:
        """All objects below."""
        with asking(self):
            found = self.store.files.find(self.key.rstrip("/"), detail=True)
        yield from self._seen(found)

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """The objects below whose names a pattern means."""
        with asking(self / pattern):
            found = self.store.files.glob(f"{self.key.rstrip('/')}/{pattern}", detail=True)
        yield from self._seen(found)

    def _seen(self, found: Mapping[str, Mapping[str, Any]]) -> Iterator[RemotePath]:
        for name, info in found.items():
            state = State.of(info)
            if state.folder or name.endswith("/"):
                continue
            key = name if self.key.startswith("/") else name.lstrip("/")
            self.store.states[key] = state
            yield self._at(key)

    # -- what is in it ---------------------------------------------------------------------------

    def raw(self) -> Ranges:
        """The object opened for reading: every read is one request for just these bytes.

        Raises OSError, also where the object is not the one that was found any more.
        """
        return Ranges(self)

    def open(self, mode: str = "rb") -> io.BufferedReader:
        """The object opened for reading, through a small buffer."""
        return io.BufferedReader(self.raw())

    def read_bytes(self) -> bytes:
        """The whole object. Raises OSError."""
        with asking(self):
            data: bytes = self.store.files.cat_file(self.store.address(self.key))
        return data

    def write_bytes(self, data: bytes) -> None:
        """Put an object here, whole."""
        with asking(self):
            self.store.files.pipe_file(self.key, data)

    def unlink(self, missing_ok: bool = False) -> None:
        self.store.states.pop(self.key, None)
        try:
            with asking(self):
                self.store.files.rm_file(self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise


class Ranges(io.RawIOBase):
    """An object as a file that can be entered anywhere."""

    def __init__(self, path: RemotePath) -> None:
        self.path = path
        self.until: int | None = None
        """What is read ahead ends here."""
        known = path.store.states.get(path.key)
        with asking(path):
            self.file = path.store.files.open(path.store.address(path.key), "rb", cache_type="none")
            self.size = self.file.seek(0, io.SEEK_END)
            self.file.seek(0)
            mark = State.of(getattr(self.file, "details", {})).st_mtime_ns
        if known and mark and mark != known.st_mtime_ns:
            self.close()
            raise OSError(f"{path}: the object has been replaced")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = len(buffer)
        if self.until is not None:
            size = max(0, min(size, self.until - self.tell()))
        with asking(self.path):
            data: bytes = self.file.read(size) if size else b""
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self.file.seek(offset, whence))

    def tell(self) -> int:
        return int(self.file.tell())

    def close(self) -> None:
        if not self.closed and hasattr(self, "file"):
            self.file.close()
        super().close()


def parts_of(url: str) -> tuple[str, ...]:
    """The scheme and the names of a URL, whatever they are."""
    scheme, _, key = url.partition("://")
    return f"{scheme.lower()}:", *key.strip("/").split("/")
