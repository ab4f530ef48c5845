"""`mirage mock-server`: an endpoint for trials."""

from __future__ import annotations

import signal
from pathlib import Path

from .commands import mirage, project, start


def test_the_server_says_where_it_is_and_answers(tmp_path: Path) -> None:
    """It takes a free port for 0, serves a run, and ends on SIGINT."""
    server = start("mock-server", "--port", "0", "--latency", "0.01")
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split()[3].rstrip(";")
        config = project(tmp_path, engine=f"{{base_url: '{address}', model_path: m}}")
        assert mirage("run", config).exit_code == 0
    finally:
        server.send_signal(signal.SIGINT)
        _, err = server.communicate(timeout=30)
    assert (server.returncode, err) == (0, "")


def test_shares_are_checked() -> None:
    """A share above 1 is a usage error."""
    assert mirage("mock-server", "--share-500", "2").exit_code == 2
