"""`mirage completion`: scripts for shells."""

from __future__ import annotations

import pytest

from .commands import document, mirage, process


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(shell: str) -> None:
    """It names the command and the variable that asks for completions."""
    script = mirage("completion", shell).stdout
    assert "_MIRAGE_COMPLETE" in script
    assert document(mirage("completion", shell, "--json").stdout)["script"] == script.rstrip("\n")


def test_the_command_completes_itself() -> None:
    """What the script asks for is answered: commands that begin with `st`."""
    code, out, _ = process(_MIRAGE_COMPLETE="bash_complete", COMP_WORDS="mirage st", COMP_CWORD="1")
    assert (code, out.split()) == (0, ["plain,status"])


def test_another_shell_is_a_usage_error() -> None:
    """Only those that there is a script for."""
    assert mirage("completion", "tcsh").exit_code == 2
