"""change.SpotTheDifference: pairs `{id}.ext` and `{id}_2.ext`; change.CocoGeneralDifference: every
file of a folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mirage.dataset.convertit.frame import Family, Frame, Where, files, missing, stem, still
from mirage.errors import MediaError

SECOND = "_2"
WIDTH = 5


def pairs(where: Where) -> Iterator[Frame]:
    """Both pictures of each pair, or neither: one alone shows no difference."""
    found: dict[str, list[Path]] = {}
    for path in files(where.path):
        found.setdefault(stem(path), []).append(path)
    paired: set[str] = set()
    for name, paths in found.items():
        second = name + SECOND
        if name in paired or is_second(name, found):
            continue
        both = [*paths, *found.get(second, [])]
        if second in found and len(both) == 2:
            paired |= {name, second}
            for number, path in enumerate(both, 1):
                yield still(path, where.path, f"{name.zfill(WIDTH)}_{number}")
    for name, paths in found.items():
        if name not in paired:
            yield from (
                missing(path.name, MediaError("pair", alone(name, found))) for path in paths
            )


def is_second(name: str, found: dict[str, list[Path]]) -> bool:
    return name.endswith(SECOND) and name.removesuffix(SECOND) in found


def alone(name: str, found: dict[str, list[Path]]) -> str:
    """Why a picture is of no pair."""
    first = name.removesuffix(SECOND) if is_second(name, found) else name
    names = [path.name for each in (first, first + SECOND) for path in found.get(each, [])]
    if len(names) > 1:
        return f"not one pair: {', '.join(names)}"
    other = first.removesuffix(SECOND) if first.endswith(SECOND) else first + SECOND
    return f"there is no {other}.* beside it"


def every(where: Where) -> Iterator[Frame]:
    return (still(path, where.path, stem(path)) for path in files(where.path))


SPOT_THE_DIFFERENCE = Family("SD", pairs)
COCO_GENERAL_DIFFERENCE = Family("CGD", every)
