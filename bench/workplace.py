"""What a benchmark needs before it begins: the server's binary, an environment for mirage and one
for the peers, bytecode, the inputs. All of it is kept below `.work`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from bench import server

HERE = Path(__file__).parent
ROOT = HERE.parent
REQUIREMENTS = HERE / "peers" / "requirements.txt"
INPUTS = HERE / "inputs.py"


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment with nothing in it but what pip is given, and what that needs.

    Who is measured has one of its own: what else is installed costs time at every start (pyarrow
    loads numpy where there is one).
    """

    folder: Path
    given: tuple[str | Path, ...]
    wanted: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def install(self) -> None:
        """Make it, unless it was made for what `wanted` holds now. Raises SystemExit."""
        stamp, wanted = self.folder / "installed.txt", self.wanted.read_text()
        if stamp.exists() and stamp.read_text() == wanted:
            return
        say(f"installing {self.folder.name}")
        venv.create(self.folder, clear=True, with_pip=True)
        if subprocess.run([self.python, "-m", "pip", "install", "-qq", *self.given]).returncode:
            raise SystemExit(f"bench: {self.folder.name} cannot be installed (see above)")
        stamp.write_text(wanted)


@dataclass(frozen=True, slots=True)
class Workplace:
    """The folder for everything that is made here, and the two environments in it."""

    folder: Path = HERE / ".work"

    @property
    def mockserver(self) -> Path:
        return self.folder / "mockserver"

    @property
    def ours(self) -> Environment:
        return Environment(self.folder / "mirage", ("-e", ROOT), ROOT / "pyproject.toml")

    @property
    def peers(self) -> Environment:
        return Environment(self.folder / "peers", ("-r", REQUIREMENTS), REQUIREMENTS)

    @property
    def python(self) -> Path:
        return self.ours.python

    @property
    def mirage(self) -> Path:
        return self.python.with_name("mirage")

    def prepare(self) -> None:
        """Build and install what is missing. Raises SystemExit where that cannot be done."""
        self.folder.mkdir(exist_ok=True)
        server.build(self.mockserver)
        for environment, sources in ((self.ours, ROOT / "src"), (self.peers, HERE / "peers")):
            environment.install()
            compile_bytecode(environment.python, environment.folder / "lib", sources)

    def text(self, rows: int) -> Path:
        """JSON lines with so many conversations of 1.6 KB."""
        return self._made(self.folder / "inputs" / f"text_{rows}.jsonl", rows)

    def images(self, rows: int) -> Path:
        """A table with the bytes of so many pictures."""
        return self._made(self.folder / "inputs" / f"{rows}" / "images.parquet", rows)

    def paths(self, rows: int) -> Path:
        """A table with the paths of the same pictures."""
        return self.images(rows).with_name("paths.parquet")

    def _made(self, path: Path, rows: int) -> Path:
        if not path.exists():
            say(f"making {path.relative_to(self.folder)}")
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                subprocess.run([self.python, INPUTS, path, str(rows)], check=True)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        return path


def compile_bytecode(python: Path, *folders: Path) -> None:
    """Compile all modules beforehand, as an ordinary first import would have done.

    Where PYTHONDONTWRITEBYTECODE is set, or the installer does not compile, every start would
    compile every module again: seconds that say nothing about either contestant.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command: list[str | Path] = [python, "-m", "compileall", "-q", *folders]
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
