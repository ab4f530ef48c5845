"""What a benchmark needs before it begins: the server's binary, the peers' environment, bytecode,
the inputs. All of it is kept below `.work`.
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
class Workplace:
    """The folder for everything that is made here, and the two environments."""

    folder: Path = HERE / ".work"
    python: Path = ROOT / ".venv" / "bin" / "python"
    mirage: Path = ROOT / ".venv" / "bin" / "mirage"

    @property
    def mockserver(self) -> Path:
        return self.folder / "mockserver"

    @property
    def peers(self) -> Path:
        return self.folder / "peers"

    @property
    def peers_python(self) -> Path:
        return self.peers / "bin" / "python"

    def prepare(self) -> None:
        """Build and install what is missing. Raises SystemExit where that cannot be done."""
        self.folder.mkdir(exist_ok=True)
        server.build(self.mockserver)
        self._install_peers()
        compile_bytecode(self.python, ROOT / ".venv" / "lib", ROOT / "src")
        compile_bytecode(self.peers_python, self.peers / "lib", HERE / "peers")

    def _install_peers(self) -> None:
        stamp = self.peers / "installed.txt"
        wanted = REQUIREMENTS.read_text()
        if stamp.exists() and stamp.read_text() == wanted:
            return
        say("installing the peers")
        venv.create(self.peers, clear=True, with_pip=True)
        pip: list[str | Path] = [
            self.peers_python,
            "-m",
            "pip",
            "install",
            "-qq",
            "-r",
            REQUIREMENTS,
        ]
        if subprocess.run(pip).returncode:
            raise SystemExit("bench: the peers cannot be installed (see above)")
        stamp.write_text(wanted)

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
