"""video.TVCaptions: about 16 of the frames of each clip of a TV show, which are files already."""

from __future__ import annotations

from collections.abc import Iterator

from mirage.dataset.convertit.frame import Family, Frame, Where, files, folders, stem, still

FRAMES = 16
SUFFIX = "_frames"


def shows(where: Where) -> Iterator[Frame]:
    """`{show}_frames/{clip}/*`: every nth frame from the middle of the first n, n = count // 16."""
    for folder in folders(where.path, f"*{SUFFIX}"):
        show = folder.name.removesuffix(SUFFIX) + "_"
        for clip in folders(folder):
            name = clip.name if clip.name.startswith(show) else show + clip.name
            paths = files(clip)
            stride = max(1, len(paths) // FRAMES)
            for path in paths[stride // 2 :: stride]:
                yield still(path, where.path, f"{name}_{stem(path)}")


TV_CAPTIONS = Family("TVC", shows)
