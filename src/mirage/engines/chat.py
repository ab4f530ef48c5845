"""Messages as chat endpoints take them: OpenAI's JSON, out of our messages and back into them.

Every engine that speaks it, and the mock server that reads it, share this.
Format: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
import pybase64

from mirage.record import Message, Part, Picture


def data_url(picture: Picture) -> orjson.Fragment:
    """The picture as a `data:` URL, already a JSON string: base64 needs no escaping."""
    head = f'"data:{picture.media_type};base64,'.encode()
    return orjson.Fragment(b"".join((head, pybase64.b64encode(picture.data), b'"')))


def to_wire(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Plain string content where there is no picture; typed parts, in order, where there is one."""
    return [{"role": m.role, "content": _content(m.parts)} for m in messages]


def _content(parts: tuple[Part, ...]) -> Any:
    if len(parts) == 1 and isinstance(parts[0], str):
        return parts[0]
    if all(isinstance(part, str) for part in parts):
        return "".join(part for part in parts if isinstance(part, str))
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": data_url(part)}}
        for part in parts
    ]


def response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Constrained decoding as OpenAI, vLLM, SGLang and llama.cpp take it."""
    named = {"name": "answer", "strict": True, "schema": schema}
    return {"type": "json_schema", "json_schema": named}


def from_wire(messages: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    """The inverse of `to_wire`. Raises ValueError, KeyError or TypeError on anything else."""
    return tuple(Message(m["role"], tuple(_parts(m.get("content")))) for m in messages)


def _parts(content: Any) -> Iterable[Part]:
    if content is None:
        return
    if isinstance(content, str):
        yield content
        return
    for part in content:
        if part["type"] == "text":
            yield part["text"]
        else:
            yield _picture(part["image_url"]["url"])


def _picture(url: str) -> Picture:
    head, comma, encoded = url.partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        raise ValueError("an image must be a base64 data URL")
    data = base64.b64decode(encoded, validate=True)
    media_type = head.removeprefix("data:").removesuffix(";base64")
    return Picture(data, media_type, hashlib.sha256(data).hexdigest())
