"""3d.SceneNavigation: the colour frames of the first scan of each ScanNet scene."""

from __future__ import annotations

from collections.abc import Iterator

from mirage.dataset.convertit.frame import Family, Frame, Where, files, folders, stem, still


def scenes(where: Where) -> Iterator[Frame]:
    """`scene*_00/color/*`, scene after scene."""
    for scene in folders(where.path, "scene*_00"):
        if (scene / "color").is_dir():
            for path in files(scene / "color"):
                yield still(path, where.path, f"{scene.name}_color_{stem(path)}")


SCENE_NAVIGATION = Family("SN", scenes)
