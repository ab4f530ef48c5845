"""OpenAI: fine-tuning files of chat messages, their images in data URLs.

    {"messages": [
        {"role": "user", "content": [
            {"type": "text", "text": "What?"},
            {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,..."}}]},
        {"role": "assistant", "content": "A cat."}]}

Shape and rules: https://developers.openai.com/api/docs/guides/vision-fine-tuning, which allows 10
images an example, and Azure's page of the same name
(https://learn.microsoft.com/azure/ai-foundry/openai/how-to/fine-tuning-vision), which allows 64:
more are refused, and more than 10 worth a note.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from mirage.errors import MediaError, SinkError, boundary
from mirage.formats.instruction import Instruction, Shown, Turn, turn
from mirage.formats.messages import CALLS, conversation, text_part
from mirage.formats.shape import CONVERSATION, Fault, Holds, Reading, Together, alternating
from mirage.media import sniff
from mirage.record import Image

MOST, MOST_AT_OPENAI = 64, 10
LARGEST, EXAMPLES = 10_000_000, 50_000
KINDS = ("image/jpeg", "image/png", "image/webp")
MODES = ("RGB", "RGBA")


class OpenAI:
    """Rows of OpenAI's fine-tuning. Messages of one side in a row are read as one turn."""

    name = "openai"
    holds = Holds(CONVERSATION | {"system"}, images=MOST)
    containers = ("jsonl",)
    absolute = False
    marks = (frozenset({"messages"}),)
    columns: ClassVar[Mapping[str, str]] = {}

    def claims(self, row: Mapping[str, Any]) -> bool:
        found = row.get("messages")
        parts = (part for message in objects(found) for part in objects(message.get("content")))
        return any(part.get("type") == "image_url" for part in parts)

    def together(self) -> Together:
        """A file has so many examples with images, and no more."""
        count = 0

        def look(sample: Instruction) -> Iterator[Fault]:
            nonlocal count
            count += bool(sample.images)
            if sample.images and count > EXAMPLES:
                yield Fault("examples", f"more than {EXAMPLES:,} examples of the file have images")

        return look

    def read(self, row: Mapping[str, Any], reading: Reading) -> Instruction:
        found = row.get("messages")
        if others := row.keys() - {"messages"}:
            reading.note("columns", f"beside the messages, not kept: {', '.join(sorted(others))}")
        values: list[str] = []
        said = found
        if isinstance(found, list):
            said = [plain(message, at, values, reading) for at, message in enumerate(found)]
        images = [image for value in values if (image := pictured(value, reading)) is not None]
        if len(values) > MOST_AT_OPENAI:
            rule = reading.fault if len(values) > MOST else reading.note
            rule(
                "image-count", f"{len(values)} images: OpenAI takes {MOST_AT_OPENAI}, Azure {MOST}"
            )
        system, turns = conversation(said, reading)
        sample = Instruction(
            joined(turns), tuple(Shown("", image) for image in images), system=system
        )
        alternating(sample, reading)
        return sample

    def write(self, sample: Instruction) -> dict[str, Any]:
        images = (image for _, image in sample.images)
        said = [{"role": each.role, "content": content(each, images)} for each in sample.turns]
        if sample.system:
            said.insert(0, {"role": "system", "content": sample.system})
        return {"messages": said}


def objects(found: Any) -> list[Mapping[str, Any]]:
    """The objects of a list; none where it is no list."""
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def plain(message: Any, number: int, values: list[str], reading: Reading) -> Any:
    """A message as the neutral row has it; the addresses of its images go to `values`."""
    if not isinstance(message, Mapping):
        return message
    role, content = message.get("role"), message.get("content")
    said = {key for key, value in message.items() if value is not None}
    if others := said - {"role", "content", *CALLS}:
        reading.note("columns", f"of message {number}, not kept: {', '.join(sorted(others))}")
    parts: list[Any] = []
    for part in content if isinstance(content, list) else ():
        match part:
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                values.append(url)
                parts.append({"type": "image"})
                if role != "user":
                    reading.fault("image-role", f"message {number}, of the {role}, has an image")
            case {"type": "image_url" | "image" as kind}:
                reading.fault("content", f"message {number} has {kind} without {{'url': ...}}")
            case _:
                parts.append(part)
    role = "system" if role == "developer" else role
    return {**message, "role": role, "content": parts if isinstance(content, list) else content}


def pictured(url: str, reading: Reading) -> Image | None:
    """The image of a data URL, and the rules that its bytes keep."""
    if url[:5].lower() != "data:":
        reading.fault("image-url", f"only data URLs can be looked into, not {url[:80]!r}")
        return None
    image = reading.image(url)
    try:
        for rule, message in unfit(image.read()) if image is not None else ():
            reading.fault(rule, message)
    except MediaError as exc:
        reading.fault(f"image-{exc.kind}", exc.message)
        return None
    return image


def unfit(data: bytes) -> Iterator[tuple[str, str]]:
    """The rules that the bytes of an image break, and how. Raises MediaError for no image."""
    from PIL import Image as Pillow

    if len(data) > LARGEST:
        yield "image-size", f"an image has {len(data):,} bytes, more than 10 MB"
    kind = sniff(data)
    if kind not in KINDS:
        yield "image-type", f"an image is {kind}: JPEG, PNG and WEBP are taken"
        return
    with boundary(MediaError, "broken"), Pillow.open(io.BytesIO(data)) as picture:
        mode = picture.mode
    if mode not in MODES:
        yield "image-mode", f"the pixels of an image are {mode}: RGB and RGBA are taken"


def joined(turns: Iterable[Turn]) -> tuple[Turn, ...]:
    """The turns with those of one side joined, a newline where text meets text."""
    made: list[Turn] = []
    for each in turns:
        if made and made[-1].role == each.role:
            before = made.pop()
            meet = all(isinstance(part, str) for part in (*before.parts[-1:], *each.parts[:1]))
            made.append(turn(each.role, *before.parts, "\n" if meet else "", *each.parts))
        else:
            made.append(each)
    return tuple(made)


def content(said: Turn, images: Iterator[Image]) -> str | list[dict[str, Any]]:
    """A plain text, or parts where there are images. Raises SinkError for what is not taken."""
    if not said.slots:
        return said.text
    return [
        text_part(part) if isinstance(part, str) else image_part(next(images))
        for part in said.parts
    ]


def image_part(image: Image) -> dict[str, Any]:
    try:
        data = image.read()
        broken = [message for _, message in unfit(data)]
        kind = sniff(data)
    except (OSError, MediaError) as exc:
        raise SinkError("image", f"the image cannot be read: {exc}") from exc
    if broken:
        raise SinkError("format", "; ".join(broken))
    url = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}
