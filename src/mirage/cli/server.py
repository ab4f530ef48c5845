"""`mirage mock-server`: the fake engine behind an HTTP endpoint."""

from __future__ import annotations

from typing import Any

import click

from mirage.cli import options

SHARE = click.FloatRange(0, 1)
SECONDS = click.FloatRange(0)


@click.command(
    "mock-server", epilog=options.example("mirage mock-server --port 8080 --latency 0.2")
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535))
@click.option("--latency", default=0.0, type=SECONDS, help="Seconds before an answer.")
@click.option("--jitter", default=0.0, type=SECONDS, help="Seconds more or less, at random.")
@click.option("--share-429", default=0.0, type=SHARE, help="Share of calls refused for load.")
@click.option(
    "--retry-after", default=0, type=click.IntRange(0), help="Seconds that a refusal asks for."
)
@click.option("--share-500", default=0.0, type=SHARE, help="Share of calls that break.")
@click.option("--malformed", default=0.0, type=SHARE, help="Share of answers cut in half.")
@click.option("--malformed-body", default=0.0, type=SHARE, help="Share of replies without JSON.")
@click.option("--hang", default=0.0, type=SHARE, help="Share of calls never answered.")
@click.option("--seed", default=0, type=int, help="Which calls have these faults.")
@click.option("--api-key", metavar="KEY", help="Refuse any other key.")
@click.option("--random", is_flag=True, help="Another answer to every call.")
@click.option("--ignore-schema", is_flag=True, help="As servers do that know no schema.")
@click.option("--ignore-logprobs", is_flag=True, help="As servers do that tell no probabilities.")
@click.option("--limit", default=0, type=click.IntRange(0), help="Refuse more calls at once.")
@click.option("--limit-for", default=0.0, type=SECONDS, help="Lift the limit after so long.")
@options.as_json
def mock_server(host: str, port: int, as_json: bool, **behaviour: Any) -> None:
    """Serve the fake engine over HTTP.

    It is an OpenAI-compatible endpoint for trials, with faults on demand; no model is behind it.
    """
    from mirage.engines.mock import Behaviour, serve

    serve(Behaviour(**behaviour), host=host, port=port, as_json=as_json)
