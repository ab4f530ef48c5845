"""The chat template of a tokenizer's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from formats.samples import png

from mirage.errors import ConfigError, SinkError
from mirage.formats.instruction import IMAGE, Instruction, Shown, turn
from mirage.mixture.chat import ChatTemplate
from mirage.record import Image

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'].strip() + '<|im_end|>\\n' }}"
    "{% endfor %}"
)
VISION = """\
{%- if not messages %}{{ raise_exception('nothing is said') }}{% endif -%}
{{- bos_token }}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.content is string %}{{ message.content }}{% else %}
    {%- for part in message.content %}
        {%- if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>
        {%- elif 'text' in part %}
            {%- generation %}{{ part.text }}{% endgeneration -%}
        {%- else %}{% continue %}{% endif %}
    {%- endfor %}{% endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}"""
ADDED = {"1": {"content": "<|im_end|>", "special": True}, "2": {"content": "<tool>"}}
ASKED = Instruction(
    (turn("user", IMAGE, "What?"), turn("assistant", "A cat.")),
    (Shown("a", Image(None, data=png(1))),),
)
SAID = Instruction(
    (turn("user", "Why?"), turn("assistant", " So. ")), system="You know 「everything」."
)


def folder(path: Path, template: Any = None, **config: Any) -> Path:
    given = {} if template is None else {"chat_template": template}
    told = {"added_tokens_decoder": ADDED, "bos_token": {"content": "<s>"}, **given, **config}
    (path / "tokenizer_config.json").write_text(json.dumps(told))
    return path


def test_a_conversation_is_what_the_template_makes_of_it(tmp_path: Path) -> None:
    assert ChatTemplate(folder(tmp_path, CHATML)).render(SAID) == (
        "<|im_start|>system\nYou know 「everything」.<|im_end|>\n"
        "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nSo.<|im_end|>\n"
    )


def test_a_template_that_sees_gets_parts(tmp_path: Path) -> None:
    """With the tokenizer's own tokens, `generation` and `continue` as templates have them."""
    (folder(tmp_path) / "chat_template.jinja").write_text(VISION)
    template = ChatTemplate(tmp_path)
    assert template.render(ASKED) == (
        "<s><|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>What?<|im_end|>\n"
        "<|im_start|>assistant\nA cat.<|im_end|>\n"
    )
    assert "「everything」.<|im_end|>" in template.render(SAID)


def test_a_file_of_its_own_comes_before_the_configuration(tmp_path: Path) -> None:
    (folder(tmp_path, CHATML) / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert ChatTemplate(tmp_path).render(Instruction(SAID.turns)) == "Why?"


def test_of_several_templates_the_default_is_taken(tmp_path: Path) -> None:
    named = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": CHATML}]
    assert "<|im_start|>" in ChatTemplate(folder(tmp_path, named)).render(SAID)


def test_a_template_of_texts_has_no_place_for_images(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="no place for images"):
        ChatTemplate(folder(tmp_path, CHATML)).render(ASKED)


def test_a_template_that_passes_over_images_has_no_place_for_them(tmp_path: Path) -> None:
    """The text would say nothing of an image that the model is shown."""
    blind = VISION.replace("<|vision_start|><|image_pad|><|vision_end|>", "")
    (folder(tmp_path) / "chat_template.jinja").write_text(blind)
    with pytest.raises(SinkError, match="no place for images"):
        ChatTemplate(tmp_path).render(ASKED)


def test_a_text_with_a_token_of_the_tokenizer_is_refused(tmp_path: Path) -> None:
    """It would end its turn. A token that is not special is a text like any other."""
    template = ChatTemplate(folder(tmp_path, CHATML))
    with pytest.raises(SinkError, match=r"<\|im_end\|>, which would be read"):
        template.render(Instruction((turn("user", "a<|im_end|>b"), turn("assistant", "c"))))
    assert "<tool>" in template.render(
        Instruction((turn("user", "a<tool>b"), turn("assistant", "c")))
    )


@pytest.mark.parametrize(
    "attack",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{% include 'secret' %}",
        "{{ range(10**9) | list }}",
        "{{ raise_exception.__globals__.os }}",
    ],
)
def test_a_template_reaches_nothing_but_its_messages(tmp_path: Path, attack: str) -> None:
    guarded = "{% if messages | length > 2 %}" + attack + "{% endif %}" + CHATML
    template = ChatTemplate(folder(tmp_path, guarded))
    with pytest.raises(SinkError, match="the chat template"):
        template.render(SAID)


@pytest.mark.parametrize(
    "template", ["{% for %}", "nothing of it", "{{ messages[7].content }}", None]
)
def test_a_template_that_shows_nothing_is_a_mistake(tmp_path: Path, template: str | None) -> None:
    with pytest.raises(ConfigError, match="chat template"):
        ChatTemplate(folder(tmp_path, template))


def test_a_folder_that_holds_no_tokenizer_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no chat template"):
        ChatTemplate(tmp_path / "nowhere")
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        ChatTemplate(tmp_path)
