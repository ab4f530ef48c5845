"""Chat as endpoints speak it: OpenAI's JSON, out of our messages and back into them.

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

from mirage.engines.http import PassingError
from mirage.errors import EngineError
from mirage.record import Completion, Message, Part, Picture


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


def guided(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema for llguidance, with one layout: a weak model can otherwise write white space for
    ever, as a pattern for it is matched again and again.
    """
    layout = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
    return {**schema, "x-guidance": layout}


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


def read_completion(data: bytes, seconds: float = 0.0, attempts: int = 1) -> Completion:
    """What we keep of a chat completion.

    Raises PassingError where the reply is not one, EngineError where the model or a filter
    declined to answer.
    """
    try:
        reply = orjson.loads(data)
        choice = reply["choices"][0]
        message = choice.get("message") or {}
        text = message.get("content")
        finish = str(choice.get("finish_reason") or "stop")
        usage = reply.get("usage") or {}
        prompt = tokens(usage.get("prompt_tokens"))
        completion = tokens(usage.get("completion_tokens"))
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        raise _malformed(data) from None
    if isinstance(text, list):  # some servers answer in typed parts
        text = "".join(part.get("text") or "" for part in text if isinstance(part, dict))
    if finish == "content_filter":
        raise EngineError("content_filter", "the endpoint filtered the answer", raw=text)
    if text is None and message.get("refusal"):
        raise EngineError("refusal", "the model refused to answer", raw=message["refusal"])
    if text is None and finish == "length":
        text = ""
    if not isinstance(text, str):
        raise _malformed(data)
    return Completion(text, finish, prompt, completion, seconds, attempts)


def tokens(value: Any) -> int:
    """A count as an endpoint gives it; 0 where it gives anything else."""
    return value if type(value) is int and 0 <= value < 1 << 53 else 0


def _malformed(data: bytes) -> PassingError:
    raw = data.decode(errors="replace")
    return PassingError("malformed", "the reply is not a chat completion", raw=raw)
