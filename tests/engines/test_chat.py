"""Messages on the wire, and back."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirage.engines import chat
from mirage.record import Message

from .asking import picture, user


def wire(message: Message) -> list[dict[str, object]]:
    sent: list[dict[str, object]] = orjson.loads(orjson.dumps(chat.to_wire([message])))
    return sent


def test_text_alone_is_a_plain_string() -> None:
    """A message without pictures has string content, whatever the text holds."""
    awkward = 'a"b\\c\n<|im_end|>{"x": 1} é \u2028'
    assert wire(user(awkward)) == [{"role": "user", "content": awkward}]
    assert wire(user("a", "b")) == [{"role": "user", "content": "ab"}]
    assert wire(user()) == [{"role": "user", "content": ""}]


def test_pictures_stand_at_their_place() -> None:
    """Texts and pictures keep their order, and a picture is a data URL of its bytes."""
    content = wire(user("one", picture(b"\xff\xd8", "image/jpeg"), "two"))[0]["content"]
    url = "data:image/jpeg;base64,/9g="
    assert content == [
        {"type": "text", "text": "one"},
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": "two"},
    ]


parts = st.lists(st.one_of(st.text(), st.binary(max_size=50).map(picture)), max_size=5)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), parts), max_size=4))
def test_messages_survive_the_wire(turns: list[tuple[str, list[str]]]) -> None:
    """Roles, joined texts and the pictures' bytes come back as they went out."""
    messages = [Message(role, tuple(content)) for role, content in turns]
    back = chat.from_wire(orjson.loads(orjson.dumps(chat.to_wire(messages))))
    assert [m.role for m in back] == [m.role for m in messages]
    assert [m.text for m in back] == [m.text for m in messages]
    assert [[p.data for p in m.pictures] for m in back] == [
        [p.data for p in m.pictures] for m in messages
    ]


@pytest.mark.parametrize("url", ["http://x/y.png", "data:image/png;base64,%%%", "data:image/png,x"])
def test_other_images_are_refused(url: str) -> None:
    """What is not a base64 data URL is a ValueError."""
    with pytest.raises(ValueError):
        chat.from_wire(
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
        )
