"""ShareGPT as LLaMA-Factory has it: messages with `<image>` tags, and a `dataset_info.json` beside.

    {"messages": [{"role": "user", "content": "<image>What?"},
                  {"role": "assistant", "content": "A cat."}], "images": ["images/1.jpg"]}

A rejected answer stands beside the chosen one, and the messages end before them:
`"chosen": {"role": "assistant", "content": ...}, "rejected": {...}`. Rows with `conversations` of
`from` and `value` are read as well, and any columns and tags that `dataset_info.json` names.

Shape and rules: data/README.md of https://github.com/hiyouga/LLaMA-Factory; in its
src/llamafactory/data `SharegptDatasetConverter` of converter.py, and `_validate_messages` of
mm_plugin.py, which counts the tags of all messages, whatever they are meant for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from msgspec import Struct
from msgspec.structs import replace

from mirage.errors import SinkError
from mirage.formats.dataset_info import TAGS, Layout
from mirage.formats.instruction import Instruction, Turn, turn
from mirage.formats.messages import beside, identity
from mirage.formats.shape import (
    CONVERSATION,
    Fault,
    Holds,
    Reading,
    Together,
    alternating,
    extras,
    word,
)
from mirage.formats.tags import TAG, no_tag, only_images, parts_of, tagged, untagged

RESERVED = (TAG, "<video>", "<audio>")
MEDIA = RESERVED[1:]
COLUMNS = {"messages": "messages", "images": "images", "chosen": "chosen", "rejected": "rejected"}
OPENAI = Layout(
    COLUMNS | {"system": "system", "videos": "videos", "audios": "audios"},
    {
        **{"role_tag": "role", "content_tag": "content", "system_tag": "system"},
        **{"user_tag": "user", "assistant_tag": "assistant"},
    },
)
CLASSIC = Layout({**OPENAI.columns, "messages": "conversations"}, TAGS)
KEYS = ("id", "conversations", *OPENAI.columns.values())
BATCH = 1000
ALONE = ("image_ids", "related", "choices", "correct", "answers", "rationales", "group")
"""Columns of the neutral row that no other has."""
TOOLS = ("observation", "function_call", "tool")


class Sharegpt(Struct, frozen=True):
    """Rows of LLaMA-Factory's sharegpt, in the layout of a file or in a usual one."""

    layout: Layout | None = None

    name = "sharegpt"
    holds = Holds(CONVERSATION | {"id", "system", "rejected", "meta"}, drawn=True)
    containers = ("json", "jsonl")
    absolute = False
    marks = (frozenset({"messages"}), frozenset({"conversations"}))
    columns: ClassVar[Mapping[str, str]] = {}
    written: ClassVar[Layout] = Layout(COLUMNS, OPENAI.tags)

    def at(self, layout: Layout) -> Self:
        return replace(self, layout=layout)

    def claims(self, row: Mapping[str, Any]) -> bool:
        if "conversations" in row:
            return "image" not in row and has_texts(row, "conversations", "value")
        paired = ("chosen" in row) == ("rejected" in row)
        foreign = row.keys() & {*ALONE, "objects", "rejected_response"}
        return paired and not foreign and has_texts(row, "messages", "content")

    def together(self) -> Together:
        return LateImages(described=self.layout is not None)

    def read(self, row: Mapping[str, Any], reading: Reading) -> Instruction:
        layout = self.layout or (OPENAI if "messages" in row else CLASSIC)
        system, turns = conversation(layout.of(row, "messages"), layout, reading)
        turns, rejected = preferred(row, turns, layout, reading)
        only_images(row, reading, layout.columns.get("videos"), layout.columns.get("audios"))
        if not system and "system" in layout.columns:
            text = reading.text(row, layout.columns["system"])
            system = no_tag(text, "the system message", reading, RESERVED)
        sample = Instruction(
            turns,
            reading.images(row, layout.columns["images"]) if "images" in layout.columns else (),
            id=identity(row, reading),
            system=system,
            rejected=rejected,
            meta=extras(row, "id", *layout.columns.values()),
        )
        alternating(sample, reading)
        reading.count(sample.slots, len(sample.images))
        return sample

    def write(self, sample: Instruction) -> dict[str, Any]:
        system = untagged(sample.system, "the system message", RESERVED)
        said = [message("system", system)] if system else []
        said += [message(each.role, tagged(each, "", RESERVED)) for each in sample.turns]
        pair = {}
        if sample.rejected is not None:
            pair = {"chosen": said.pop(), "rejected": message("assistant", rejected_of(sample))}
        images = [image for _, image in sample.images]
        row = {"id": sample.id, "messages": said, **pair, "images": images}
        return {**row, **beside(sample.meta, KEYS)}


class LateImages(Struct):
    """LLaMA-Factory hands its rows to `datasets`, which makes a column of nulls where the first
    thousand of them have no image: then one that comes later does not fit, and nothing is loaded.
    Rows that nobody has described to LLaMA-Factory may be another program's.
    """

    described: bool
    rows: int = 0
    seen: bool = False

    def __call__(self, sample: Instruction) -> Iterator[Fault]:
        late = not self.seen and self.rows >= BATCH
        if sample.images and late and self.described:
            yield Fault("late-images", f"no image in the first {BATCH} rows, and here is one")
        self.seen = self.seen or bool(sample.images)
        self.rows += 1


def message(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def rejected_of(sample: Instruction) -> str:
    """The rejected answer. Raises SinkError where images belong to the chosen one: the loader wants
    the same number of tags with either.
    """
    if sample.turns[-1].slots:
        raise SinkError("format", "the chosen answer has images, and the rejected one has not")
    return untagged(sample.rejected or "", "the rejected answer", RESERVED)


def has_texts(row: Mapping[str, Any], column: str, key: str) -> bool:
    """Whether all messages of a row are texts, in which a tag is a tag: there are images."""
    found = row.get(column)
    if not isinstance(found, list):
        return False
    texts = [each.get(key) if isinstance(each, Mapping) else None for each in found]
    tags = any(tag in text for text in texts if isinstance(text, str) for tag in RESERVED)
    shown = bool(row.get("images")) or not tags
    return shown and bool(texts) and all(isinstance(text, str) for text in texts)


def conversation(found: Any, layout: Layout, reading: Reading) -> tuple[str, tuple[Turn, ...]]:
    """The system message and the turns of a list of messages."""
    if not isinstance(found, list):
        name = layout.columns.get("messages", "messages")
        reading.fault("messages", f"'{name}' is {word(found)}, not a list")
        return "", ()
    system, turns = "", []
    for number, each in enumerate(found):
        role, text = said_by(each, f"message {number}", layout, reading)
        if number == 0 and role == "system":
            system = no_tag(text, "the system message", reading, RESERVED)
        elif role in ("user", "assistant"):
            no_tag(text, f"message {number}", reading, MEDIA)
            turns.append(turn("user" if role == "user" else "assistant", *parts_of(text)))
        elif role == "system":
            reading.fault("roles", f"message {number} is a system message, not the first")
    return system, tuple(turns)


def said_by(found: Any, what: str, layout: Layout, reading: Reading) -> tuple[str, str]:
    """Whose message it is (user, assistant or system; empty for no one's), and its text."""
    tags = layout.tags
    known = ("system", "user", "assistant")
    roles = {tags[f"{each}_tag"]: each for each in known if f"{each}_tag" in tags}
    if not isinstance(found, Mapping):
        reading.fault("messages", f"{what} is {word(found)}, not an object")
        return "", ""
    role, text = found.get(tags.get("role_tag", "")), found.get(tags.get("content_tag", ""))
    tools = {*TOOLS, tags.get("observation_tag"), tags.get("function_tag")}
    if isinstance(role, str) and role in tools:
        reading.fault("tools", f"{what} is a call of a tool: a sample has none")
        return "", ""
    if not isinstance(role, str) or role not in roles:
        reading.fault("roles", f"{what} has the role {role!r}, not {' or '.join(roles)}")
        return "", ""
    if not isinstance(text, str):
        reading.fault("content", f"{what} has {word(text)} for its text")
        return roles[role], ""
    return roles[role], text


def preferred(
    row: Mapping[str, Any], turns: tuple[Turn, ...], layout: Layout, reading: Reading
) -> tuple[tuple[Turn, ...], str | None]:
    """The turns with the chosen answer at their end, and the rejected one, where there are two."""
    chosen, rejected = layout.of(row, "chosen"), layout.of(row, "rejected")
    if layout.ranking is False or (layout.ranking is None and chosen is rejected is None):
        return turns, None
    if chosen is None or rejected is None:
        reading.fault("ranking", "a chosen and a rejected answer belong together")
        return turns, None
    texts = []
    for what, found in (("chosen", chosen), ("rejected", rejected)):
        role, text = said_by(found, f"'{what}'", layout, reading)
        if role and role != "assistant":
            reading.fault("roles", f"'{what}' is said by the {role}")
        texts.append(no_tag(text, f"'{what}'", reading, RESERVED))
    return (*turns, turn("assistant", texts[0])), texts[1]
