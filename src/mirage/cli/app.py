"""The group of commands, and what every error looks like: one place for exit codes and messages.

Exit codes: 0 done; 1 an error of MIRAGE or of the machine; 2 usage or configuration; 3 done, with
failed records; 4 stopped; 5 another process owns the run; 130 interrupted and drained.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import click
from msgspec.structs import replace

from mirage import __version__
from mirage.cli import (
    check,
    completion,
    convert,
    demo,
    formats,
    import_config,
    inspect,
    launch,
    merge,
    mix,
    preview,
    run,
    server,
    status,
    verify,
)
from mirage.cli.options import example
from mirage.cli.text import clean, near, say, say_json
from mirage.errors import (
    ConfigError,
    LockedError,
    MirageError,
    Mistake,
    SourceChangedError,
    StoppedError,
)

USAGE, INTERRUPTED = 2, 130
DEBUG = "MIRAGE_DEBUG"
COLLECT_AFTER = 200_000
"""New objects, before Python looks for garbage among them: more than a start makes."""
WANTS_JSON = "mirage.json"


class App(click.Group):
    """Commands in the order in which they are added, and errors without tracebacks."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[WANTS_JSON] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> None:
        as_json: bool = ctx.meta[WANTS_JSON]
        try:
            code = super().invoke(ctx)
        except click.UsageError as error:
            if not as_json:
                raise
            tell({"error": error.format_message()}, USAGE, as_json)
            code = USAGE
        except (MirageError, OSError) as error:
            if os.environ.get(DEBUG):
                traceback.print_exc()
            code = exit_code(error)
            tell(explained(error), code, as_json)
        except KeyboardInterrupt:
            code = INTERRUPTED
            tell({"error": "interrupted"}, code, as_json)
        ctx.exit(code or 0)


def exit_code(error: Exception) -> int:
    match error:
        case ConfigError() | SourceChangedError():
            return USAGE
        case StoppedError():
            return 4
        case LockedError():
            return 5
        case _:
            return 1


def explained(error: Exception) -> dict[str, Any]:
    """What is told of an error: its message, and all mistakes of a configuration."""
    if not isinstance(error, ConfigError):
        return {"error": str(error) or type(error).__name__}
    count = len(error.mistakes)
    if count == 1 and not error.mistakes[0].file:  # nothing that stands in a configuration
        return {"error": str(error), "mistakes": error.mistakes}
    message = "1 mistake" if count == 1 else f"{count} mistakes"
    placed = [replace(each, file=near(each.file)) if each.file else each for each in error.mistakes]
    return {"error": f"{message} in the configuration", "mistakes": placed}


def tell(what: dict[str, Any], code: int, as_json: bool) -> None:
    """An error: as JSON on stdout, or for people on stderr."""
    mistakes: list[Mistake] = what.get("mistakes", [])
    if as_json:
        say_json({**what, "mistakes": mistakes, "exit_code": code})
        return
    for mistake in mistakes:
        say(clean(str(mistake)), err=True)
    if not mistakes:
        say(click.style("error: ", fg="red", bold=True) + clean(what["error"]), err=True)


def unforeseen(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """What is left to say of a fault of ours; the interpreter then exits with 1."""
    if issubclass(kind, KeyboardInterrupt):
        return
    last = traceback.extract_tb(trace)[-1:]
    where = f" ({Path(last[0].filename).name}:{last[0].lineno})" if last else ""
    text = f"internal error: {kind.__name__}: {error}{where}; {DEBUG}=1 shows the traceback"
    tell({"error": text}, 1, "--json" in sys.argv)


@click.group(
    cls=App,
    epilog=example(
        "mirage init", "mirage run mirage.yaml --source rows.jsonl --sink out/train.jsonl"
    ),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="mirage")
def app() -> None:
    """Turn the multimodal dataset you have into the one you need: one YAML file, any model."""


for each in (
    *(run.run, check.check, preview.preview, status.status, run.retry, check.init, check.schema),
    *(merge.merge, launch.launch),
    *(convert.convert, verify.verify, inspect.inspect, mix.mix, formats.formats),
    import_config.import_config,
    *(demo.demo, server.mock_server, completion.completion),
):
    app.add_command(each)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `mirage`. Leaves through SystemExit."""
    if not os.environ.get(DEBUG):
        sys.excepthook = unforeseen
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that is no UTF-8 must not end a run
            stream.reconfigure(errors="backslashreplace")
    app(arguments, prog_name="mirage")


def console() -> None:
    """The console script: `main`, and then out at once.

    Everything is on disk by then, and Python's own way out takes a tenth of a second. Looking for
    garbage among modules that are being loaded takes nearly as long: none of them ever goes.
    """
    gc.set_threshold(COLLECT_AFTER)
    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, str):
            raise
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(end.code or 0)
