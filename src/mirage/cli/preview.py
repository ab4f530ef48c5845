"""`mirage preview`: the way of the first records, in full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirage.cli import options
from mirage.cli.text import clean, counted, duration, field, say, say_json, size, width

if TYPE_CHECKING:
    from mirage.glimpse import Call, Preview
    from mirage.record import Message

LINES = 40


@click.command(epilog=options.example("mirage preview reformat.yaml -n 3 --source rows.jsonl"))
@options.config
@click.option("-n", "count", default=5, type=click.IntRange(1), help="How many records.  [5]")
@options.source
@options.engine
@click.option("--full", is_flag=True, help=f"Show texts of more than {LINES} lines whole.")
@options.as_json
def preview(config: Path, count: int, full: bool, as_json: bool, **flags: Any) -> int:
    """Show the first prompts, replies and rows.

    The model is called for these few records; nothing is written.
    """
    from mirage import api

    previews = api.preview(config, count=count, **flags)
    if as_json:
        say_json({"records": [described(each) for each in previews]})
    else:
        for number, each in enumerate(previews, 1):
            title = f"record {number} of {len(previews)}"
            say(f"{click.style(title, bold=True)}  {clean(each.record.place)}")
            for label, text, color in told(each):
                say(field(label, text if full else cut(text), color=color))
            say(click.style("─" * width(), dim=True) if number < len(previews) else "")
        if not previews:
            say("the source has no rows")
    return 3 if any(each.failed for each in previews) else 0


def told(preview: Preview) -> Iterator[tuple[str, str, str | None]]:
    """Labels, texts and colours of one record."""
    for call in preview.calls:
        for message in call.request.messages:
            yield message.role, spoken(message), None
        if call.request.choices:
            yield "choices", scored(call), None
        yield "reply", reply(call), "green" if call.completion else "yellow"
    if preview.shared:
        answers = counted(preview.shared, "answer")
        yield "shared", f"{answers} to equal requests above; the model was not asked again", None
    for row in preview.rows:
        yield "row", clean(as_text(row)), "cyan"
    for problem in preview.problems:
        yield "problem", clean(problem), "yellow"


def cut(text: str) -> str:
    """A text of at most so many lines, and what of it is not shown."""
    lines = text.splitlines()
    if len(lines) <= LINES + 1:
        return text
    more = counted(len(lines) - LINES, "more line")
    return "\n".join([*lines[:LINES], f"… {more}; --full shows them"])


def spoken(message: Message) -> str:
    """A turn as it reaches the model, its pictures by what they are."""
    from mirage.record import Picture

    parts = (seen(p) if isinstance(p, Picture) else clean(p) for p in message.parts)
    return "".join(parts).strip("\n")


def seen(picture: Any) -> str:
    copy = f", {picture.copy}" if picture.copy else ""
    what = f"{picture.media_type} {size(len(picture.data))} sha256:{picture.digest[:12]}…"
    return f"[{what}{copy}]\n"


def reply(call: Call) -> str:
    done = call.completion
    if done is None:
        return "none came"
    tokens = f"{done.prompt_tokens:,} + {done.completion_tokens:,} tokens"
    return f"{clean(done.text)}\n({done.finish}, {tokens}, {duration(done.seconds)})"


def scored(call: Call) -> str:
    """The choices, each with its log-probability where it was told."""
    choices = call.request.choices
    logprobs = call.completion.logprobs if call.completion else (None,) * len(choices)
    numbers = ("-" if told is None else f"{told:.3f}" for told in logprobs)
    return "\n".join(
        f"{number:>9}  {clean(choice)}" for number, choice in zip(numbers, choices, strict=True)
    )


def as_text(row: Mapping[str, Any]) -> str:
    import orjson

    option = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS
    return orjson.dumps(row, default=shown, option=option).decode()


def shown(value: Any) -> str:
    """What stands in for a value that JSON does not have: an image, by what it is."""
    from mirage.errors import MediaError
    from mirage.media import sniff
    from mirage.record import Image

    if not isinstance(value, Image):
        return str(value)
    try:
        data = value.read()
        return f"[{sniff(data)} {size(len(data))}]"
    except (MediaError, OSError) as exc:
        return f"[image: {exc}]"


def described(preview: Preview) -> dict[str, Any]:
    """One record as JSON."""
    import orjson

    return {
        "place": preview.record.place,
        "calls": [
            {
                "messages": [_message(message) for message in call.request.messages],
                "schema": call.request.schema,
                "choices": call.request.choices,
                "reply": call.completion,
            }
            for call in preview.calls
        ],
        "shared": preview.shared,
        "rows": [orjson.loads(as_text(row)) for row in preview.rows],
        "problems": preview.problems,
        "failed": preview.failed,
    }


def _message(message: Message) -> dict[str, Any]:
    return {
        "role": message.role,
        "parts": [
            part
            if isinstance(part, str)
            else {
                "media_type": part.media_type,
                "bytes": len(part.data),
                "sha256": part.digest,
                "copy": part.copy,
            }
            for part in message.parts
        ],
    }
