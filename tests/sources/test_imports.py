"""The factory is light: a format's libraries are loaded when it is asked for."""

from __future__ import annotations

import subprocess
import sys


def test_the_folder_loads_no_heavy_library() -> None:
    """Neither pyarrow nor datasets nor Pillow comes with the factory."""
    code = "import sys, mirage.sources; print([m for m in HEAVY if m in sys.modules])"
    heavy = repr(["pyarrow", "datasets", "PIL", "zstandard", "numpy"])
    found = subprocess.run(
        [sys.executable, "-c", code.replace("HEAVY", heavy)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "[]"
