"""The limits of OpenAI's fine-tuning, when rows are read and when they are written."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from mirage.errors import SinkError
from mirage.formats import openai, recognise, shape
from mirage.formats.instruction import IMAGE, Instruction, Shown, turn
from mirage.formats.shape import Reading, among, fit
from mirage.record import Image

from .samples import PICTURES, png

ANSWER = {"role": "assistant", "content": "Red."}
URL = f"data:image/png;base64,{base64.b64encode(png(200)).decode()}"


def read(*said: dict[str, Any], **further: Any) -> tuple[Instruction, Reading]:
    reading = Reading(among(None, given=False))
    return shape("openai").read({"messages": [*said], **further}, reading), reading


def picture(url: str = URL, **further: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **further}}


def asked(*images: Image) -> Instruction:
    turns = (turn("user", *[IMAGE] * len(images), "What?"), turn("assistant", "Red."))
    return Instruction(turns, tuple(Shown("", image) for image in images))


def encoded(kind: str, mode: str = "RGB") -> Image:
    buffer = io.BytesIO()
    Pillow.new(mode, (3, 2)).save(buffer, kind)
    return Image(None, data=buffer.getvalue())


def test_messages_of_one_side_are_one_turn() -> None:
    """As in the example of OpenAI's own page; a newline stands where text would meet text."""
    text = {"role": "user", "content": "What?"}
    shown = {"role": "user", "content": [picture()]}
    sample, reading = read({"role": "developer", "content": "Be brief."}, text, shown, ANSWER)
    assert not reading.faults
    assert sample.system == "Be brief."
    assert sample.turns[0].parts == ("What?", IMAGE)
    sample, _ = read(text, {"role": "user", "content": "Now."}, ANSWER)
    assert sample.turns[0].parts == ("What?\nNow.",)


def test_what_is_not_kept_is_worth_a_note() -> None:
    said = {"role": "user", "content": "What?", "name": "Ann"}
    sample, reading = read(said, ANSWER | {"weight": 0}, tools=[])
    assert not reading.broken
    assert [each.message.split(": ")[1] for each in reading.faults] == ["tools", "name", "weight"]
    assert sample.meta == {}


def test_more_images_than_openai_takes_are_a_note_and_than_anyone_takes_a_fault() -> None:
    for count, broken in ((10, None), (11, False), (64, False), (65, True)):
        _, reading = read({"role": "user", "content": [picture()] * count}, ANSWER)
        told = [(each.rule, not each.note) for each in reading.faults]
        assert told == ([] if broken is None else [("image-count", broken)])
    with pytest.raises(SinkError, match="holds 64 images, not 65"):
        fit(asked(*PICTURES[:1] * 65), shape("openai"))


def test_an_image_of_more_than_10_mb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "LARGEST", 60)
    _, reading = read({"role": "user", "content": [picture()]}, ANSWER)
    assert [each.rule for each in reading.broken] == ["image-size"]
    with pytest.raises(SinkError, match="more than 10 MB"):
        shape("openai").write(asked(PICTURES[0]))


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (encoded("GIF"), "image/gif"),
        (encoded("TIFF"), "image/tiff"),
        (encoded("PNG", "P"), "are P"),
        (encoded("JPEG", "L"), "are L"),
        (encoded("JPEG", "CMYK"), "are CMYK"),
        (Image(None, data=b"no image"), "cannot be read"),
        (Image(None, path="/nowhere/1.png"), "cannot be read"),
    ],
)
def test_an_image_that_is_not_taken_is_refused(image: Image, told: str) -> None:
    """It is never encoded anew."""
    with pytest.raises(SinkError, match=told):
        shape("openai").write(asked(image))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_address_says_what_the_bytes_are(kind: str, tmp_path: Path) -> None:
    """Whatever the file is named."""
    file = tmp_path / "picture.gif"
    file.write_bytes(encoded(kind).read())
    row = shape("openai").write(asked(Image(None, path=str(file))))
    head, _, body = row["messages"][0]["content"][0]["image_url"]["url"].partition(",")
    assert head == f"data:image/{kind.lower()};base64"
    assert base64.b64decode(body, validate=True) == file.read_bytes()


def test_a_tag_is_text_like_any_other() -> None:
    sample = Instruction((turn("user", "An <image> tag?"), turn("assistant", "Yes.")))
    assert shape("openai").write(sample)["messages"][0]["content"] == "An <image> tag?"


def test_a_file_has_50000_examples_with_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text does not count."""
    monkeypatch.setattr(openai, "EXAMPLES", 2)
    look = openai.OpenAI().together()
    shown, text = asked(PICTURES[0]), asked()
    assert [len([*look(each)]) for each in (shown, text, shown, text, shown)] == [0, 0, 0, 0, 1]


def test_rows_with_images_are_known_by_their_addresses() -> None:
    said = {"role": "user", "content": [picture()]}
    text = {"messages": [{"role": "user", "content": "What?"}, ANSWER]}
    assert recognise([{"messages": [said, ANSWER]}, text]) == "openai"
