"""The data YAML of MIMIC-IT: which datasets a mixture is made of, and how much of each.

    IMAGE_TEXT:                      # a group
      LADD:                          # a dataset of any name
        mimicit_path: LADD_instructions.json
        images_path: LA.parquet
        num_samples: -1

Paths are relative to the file. All mistakes are told at once, each with its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from mirage.config.document import Document, read_document, read_text, written
from mirage.errors import ConfigError, Mistake
from mirage.names import Path as Keys
from mirage.names import suggest
from mirage.places import is_remote

IMAGE_TEXT, TEXT_ONLY = "IMAGE_TEXT", "TEXT_ONLY"
IN_CONTEXT, VIDEO_TEXT = "IMAGE_TEXT_IN_CONTEXT", "VIDEO_TEXT"
GROUPS = (IMAGE_TEXT, TEXT_ONLY, IN_CONTEXT, VIDEO_TEXT)
RATIO = "sample_ratio"
RATIOS = ("size", "sqrt")
PATHS = ("mimicit_path", "images_path", "train_config_path")
MOST = 1_000_000_000
KEYS = (*PATHS, "num_samples", "task_description")


class Declared(Struct, frozen=True):
    """A dataset as the YAML has it. `samples` is how many shall be drawn, None for all of them.

    `images` are the stores that its image ids are looked for in: its own, or where it has none
    those of its group.
    """

    group: str
    name: str
    instructions: Path
    images: tuple[Path, ...] = ()
    train: Path | None = None
    samples: int | None = None
    descriptions: tuple[str, ...] = ()
    place: tuple[str, int, int] = ("", 0, 0)

    def files(self) -> tuple[Path, ...]:
        train = () if self.train is None else (self.train,)
        return (self.instructions, *train, *self.images)

    def mistake(self, error: Exception) -> ConfigError:
        """The error of a file that is not what it shall be, at the dataset's place in the YAML."""
        return ConfigError([Mistake(f"{self.group}.{self.name}", str(error), *self.place)])


class Declaration(Struct, frozen=True):
    datasets: tuple[Declared, ...]
    ratio: str = "size"
    file: str = ""


def load_declaration(path: str | Path) -> Declaration:
    """Read a data YAML. Raises ConfigError with all mistakes."""
    path = Path(path)
    reader = _Reader(read_document(read_text(path), str(path)), path)
    found = reader.declaration()
    if reader.mistakes:
        raise ConfigError(reader.mistakes)
    return found


class _Reader(Struct):
    document: Document
    file: Path
    mistakes: list[Mistake] = []

    def declaration(self) -> Declaration:
        found: list[Declared] = []
        for group, datasets in self.document.data.items():
            if group == RATIO:
                continue
            if group not in GROUPS:
                message = f"unknown group; the groups are {', '.join(GROUPS)}"
                self.wrong((group,), message + suggest(group, [*GROUPS, RATIO]), key=True)
            elif self.mapping((group,), datasets):
                found += self.datasets(group, datasets)
        ratio = self.document.data.get(RATIO, RATIOS[0])
        if ratio not in RATIOS:
            close = suggest(ratio, RATIOS) if isinstance(ratio, str) else ""
            self.wrong((RATIO,), f"must be {' or '.join(RATIOS)}{close}")
        if not found and not self.mistakes:
            self.wrong((), "a mixture has at least one dataset")
        return Declaration(tuple(found), ratio, str(self.file))

    def datasets(self, group: str, given: Mapping[str, Any]) -> Iterable[Declared]:
        own = {
            name: self.dataset((group, name), values)
            for name, values in given.items()
            if self.mapping((group, name), values)
        }
        shared = tuple(dict.fromkeys(path for each in own.values() for path in each.images))
        for each in own.values():
            yield each if each.images else _with_images(each, shared)

    def dataset(self, at: Keys, given: Mapping[str, Any]) -> Declared:
        for key in given:
            if key not in KEYS:
                self.wrong((*at, key), f"unknown key{suggest(key, KEYS)}", key=True)
        paths = {key: self.path((*at, key), given[key]) for key in PATHS if key in given}
        if not given.get("mimicit_path", ""):
            self.wrong((*at, "mimicit_path"), "is required", where=self.document.key_position(at))
        group, name = str(at[0]), str(at[1])
        images = paths.get("images_path")
        if group == TEXT_ONLY and images is not None:
            self.wrong((*at, "images_path"), f"{TEXT_ONLY} has no images", key=True)
        return Declared(
            group,
            name,
            paths.get("mimicit_path") or Path(),
            () if images is None else (images,),
            paths.get("train_config_path"),
            self.samples((*at, "num_samples"), given.get("num_samples", -1)),
            self.descriptions((*at, "task_description"), given.get("task_description", [])),
            (str(self.file), *self.document.key_position(at)),
        )

    def path(self, at: Keys, given: Any) -> Path | None:
        """A path that exists; the empty one is none, as it is for the loader of the format."""
        if not isinstance(given, str):
            self.wrong(at, "must be a path")
            return None
        if not given:
            return None
        if is_remote(given):
            self.wrong(at, "a mixture is read by random access: copy it here first")
            return None
        path = self.file.parent / Path(given).expanduser()
        if not path.exists():
            self.wrong(at, f"{path} does not exist")
        elif path.is_dir() and at[-1] != "images_path":
            self.wrong(at, f"{path} is a folder")
        return path

    def samples(self, at: Keys, given: Any) -> int | None:
        if not isinstance(given, int) or isinstance(given, bool) or given < -1:
            found = "nothing stands here" if given is None else f"not {given!r:.40}"
            self.wrong(at, f"must be a number of samples, or -1 for all of them; {found}")
            return None
        if given > MOST:
            self.wrong(at, f"{given:,} samples are too many for one epoch; the limit is {MOST:,}")
        return None if given in (-1, 0) else given

    def descriptions(self, at: Keys, given: Any) -> tuple[str, ...]:
        """A text alone is a mistake: one of its characters would be drawn."""
        if isinstance(given, list) and all(isinstance(each, str) for each in given):
            return tuple(given)
        found = "; put the text in brackets" if isinstance(given, str) else ""
        self.wrong(at, f"must be a list of texts, one of which is drawn{found}")
        return ()

    def mapping(self, at: Keys, given: Any) -> bool:
        if not isinstance(given, Mapping):
            self.wrong(at, "must be a mapping of keys", key=True)
        return isinstance(given, Mapping)

    def wrong(
        self, at: Keys, message: str, *, key: bool = False, where: tuple[int, int] | None = None
    ) -> None:
        """A mistake in a value, or in the key itself; or at another place that is told."""
        place = self.document.key_position(at) if key else self.document.position(at)
        self.mistakes.append(Mistake(written(at), message, str(self.file), *(where or place)))


def _with_images(declared: Declared, images: tuple[Path, ...]) -> Declared:
    return replace(declared, images=images if declared.group != TEXT_ONLY else ())
