"""The README's picture: rows of the demonstration, before and after, as they came out of it.

    make demo && .venv/bin/python docs/make_picture.py demo-out

writes docs/before-after.svg. The picture asks for no font from elsewhere: it is drawn with the
monospaced font of whoever looks at it.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import orjson
from rich.box import HORIZONTALS
from rich.console import Console
from rich.table import Table
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from mirage.cli.blocks import blocks
from mirage.cli.demo import ALL, Demonstration, Row, position, turns, varied
from mirage.status import failures

COLUMNS = 92
SHOWN = (2, 2, 1)
PICTURE = 24
TARGET = Path(__file__).with_name("before-after.svg")
FONTS = 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace'
COLOURS = [(86, 92, 104), (224, 108, 117), (152, 195, 121), (229, 192, 123)]
COLOURS += [(97, 175, 239), (198, 120, 221), (129, 220, 230), (255, 255, 255)]
THEME = TerminalTheme((24, 26, 31), (214, 218, 226), COLOURS, COLOURS)


def chosen(each: Demonstration, out: Path, count: int) -> list[tuple[Row, Row]]:
    """Some rows of a demonstration before and after."""
    before = [orjson.loads(line) for line in (out / each.rows).read_bytes().splitlines()]
    after = [orjson.loads(line) for line in (out / each.sink).read_bytes().splitlines()]
    run = out / "runs" / Path(each.config).stem
    failed = {position(failure) for failure in failures(run)}
    written = (row for number, row in enumerate(before) if number not in failed)
    return varied(zip(written, after, strict=True), count)


def picture(out: Path) -> str:
    """The picture as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    shown = Table(box=HORIZONTALS, show_lines=True, width=COLUMNS, border_style="bright_black")
    shown.add_column("before", ratio=1, header_style="bold")
    shown.add_column("after", ratio=1, header_style="bold bright_cyan")
    for each, count in zip(ALL, SHOWN, strict=True):
        for before, after in chosen(each, out, count):
            drawing = blocks(out / each.images / before["image"], PICTURE) if each.images else ""
            shown.add_row(Text.assemble(drawing, turns(before, "")), turns(after, "bright_cyan"))
    console.print(shown)
    drawn = console.export_svg(title="mirage demo", theme=THEME, unique_id="picture")
    drawn = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)
    return re.sub(r"font-family: [^;]+;", f"font-family: {FONTS};", drawn)


if __name__ == "__main__":
    TARGET.write_text(picture(Path(sys.argv[1])), "utf-8")
