"""The chat template of a tokenizer's folder, rendered as text: no model, no `transformers`.

Templates come with models, hence from anywhere: they run in Jinja's sandbox, where neither Python
nor a file can be reached. What they may use besides is what Hugging Face gives them:
https://huggingface.co/docs/transformers/chat_templating_writing
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import TemplateError as JinjaError
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mirage.errors import ConfigError, Mistake, SinkError
from mirage.formats.instruction import Instruction
from mirage.formats.messages import typed

CONFIG, TEMPLATE, PROCESSOR = "tokenizer_config.json", "chat_template.jinja", "chat_template.json"
TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token")
PROBE = "qPROBEq"
FAILURES = (JinjaError, TypeError, ValueError, LookupError, ArithmeticError, RecursionError)


class Generation(Extension):
    """`{% generation %}`, which marks what the model shall learn, and changes no text."""

    tags: set[str] = {"generation"}  # noqa: RUF012 - Jinja has it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatTemplate:
    """Renders samples. Raises ConfigError where the folder has no template, or a broken one."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        config = read_json(self.folder / CONFIG)
        self.tokens = {name: text_of(config[name]) for name in TOKENS if config.get(name)}
        self.special = special_tokens(config)
        self.reserved = re.compile("|".join(map(re.escape, self.special)) or "(?!)")
        try:
            self.template = environment().from_string(template_of(self.folder, config))
        except JinjaError as exc:
            raise mistake(self.folder, f"the chat template: {exc}") from exc
        self.in_parts = self._takes([{"type": "text", "text": PROBE}])
        if not self.in_parts and not self._takes(PROBE):
            raise mistake(self.folder, "the chat template does not show what a user says")
        self.sees = self.in_parts and self._sees()

    def render(self, sample: Instruction) -> str:
        """The text of a sample. Raises SinkError for one that the template cannot show: images
        where it has no place for them, a text that holds one of the tokenizer's own tokens.
        """
        if sample.images and not self.sees:
            raise SinkError("format", "the chat template has no place for images")
        for text in (sample.system, *(turn.text for turn in sample.turns)):
            if found := self.reserved.search(text):
                what = f"a text holds {found[0]}, which would be read as the tokenizer's own"
                raise SinkError("format", what)
        turns = [
            {"role": turn.role, "content": typed(turn.parts) if self.in_parts else turn.text}
            for turn in sample.turns
        ]
        if sample.system:
            turns.insert(0, {"role": "system", "content": self._content(sample.system)})
        return self._render(turns)

    def _content(self, text: str) -> Any:
        return [{"type": "text", "text": text}] if self.in_parts else text

    def _render(self, messages: list[dict[str, Any]]) -> str:
        try:
            return self.template.render(
                messages=messages, add_generation_prompt=False, tools=None, **self.tokens
            )
        except FAILURES as exc:
            raise SinkError("format", f"the chat template: {type(exc).__name__}: {exc}") from exc

    def _takes(self, content: Any) -> bool:
        """Whether a content shows as the text that it holds."""
        try:
            text = self._render(self._asked(content))
        except SinkError:
            return False
        return PROBE in text and f"'{PROBE}'" not in text and f'"{PROBE}"' not in text

    def _sees(self) -> bool:
        """Whether an image leaves a trace in the text."""
        said = {"type": "text", "text": PROBE}
        try:
            blind = self._render(self._asked([said]))
            return self._render(self._asked([{"type": "image"}, said])) != blind
        except SinkError:
            return False

    def _asked(self, content: Any) -> list[dict[str, Any]]:
        answer = [{"type": "text", "text": "ok"}] if isinstance(content, list) else "ok"
        return [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]


def environment() -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation]
    )
    made.filters["tojson"] = to_json
    made.globals |= {"raise_exception": refuse, "strftime_now": strftime_now}
    return made


def to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **_: Any) -> str:
    """As JSON, without HTML's escapes."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def refuse(message: str) -> Any:
    raise JinjaError(message)


def strftime_now(format: str) -> str:
    return datetime.now().strftime(format)


def template_of(folder: Path, config: Mapping[str, Any]) -> str:
    """The template: a file of its own, or a key of the configuration. Raises ConfigError."""
    if (folder / TEMPLATE).is_file():
        return (folder / TEMPLATE).read_text("utf-8")
    for found in (read_json(folder / PROCESSOR).get("chat_template"), config.get("chat_template")):
        if isinstance(found, str):
            return found
        if isinstance(found, list):
            named = {each["name"]: each["template"] for each in found if isinstance(each, Mapping)}
            if isinstance(named.get("default"), str):
                return str(named["default"])
    raise mistake(folder, f"no chat template: neither {TEMPLATE} nor `chat_template` in {CONFIG}")


def special_tokens(config: Mapping[str, Any]) -> list[str]:
    """Strings that the tokenizer takes for tokens of its own wherever they stand."""
    added = config.get("added_tokens_decoder")
    listed: Iterable[Any] = added.values() if isinstance(added, Mapping) else ()
    own = [each for each in listed if isinstance(each, Mapping) and each.get("special")]
    found = {text_of(each) for each in (*own, *(config.get(name, "") for name in TOKENS))}
    return sorted(found - {"", "None"}, key=len, reverse=True)


def text_of(token: Any) -> str:
    """A token is a text, or an object with one."""
    return str(token.get("content", "")) if isinstance(token, Mapping) else str(token)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; an empty one where there is no file. Raises ConfigError."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise mistake(path, f"cannot be read: {exc}") from exc
    if not isinstance(found, dict):
        raise mistake(path, "this is no JSON object")
    return found


def mistake(path: Path, message: str) -> ConfigError:
    return ConfigError([Mistake("", message, str(path))])
