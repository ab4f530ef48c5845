"""Chat templates as `transformers` renders them: ours give the same text, letter by letter."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from formats.samples import png
from mixture.test_chat import CHATML, VISION

from mirage.errors import SinkError
from mirage.formats.instruction import IMAGE, Instruction, Shown, turn
from mirage.formats.messages import typed
from mirage.mixture.chat import ChatTemplate
from mirage.record import Image

rendering = pytest.importorskip(
    "transformers.utils.chat_template_utils", reason="make test-engines installs it"
)

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
TALK = (turn("user", "Why {x}?"), turn("assistant", " So <b>. "), turn("user", "「And」?"))
SAMPLES = [
    Instruction((*TALK, turn("assistant", "No."))),
    Instruction((*TALK, turn("assistant", "No.")), system="You know."),
    Instruction(
        (turn("user", "Look: ", IMAGE, "What?"), turn("assistant", "A cat.")),
        (Shown("a", Image(None, data=png(1))),),
    ),
]


def shipped() -> list[Any]:
    """The templates of well-known models that TRL ships, where it is installed."""
    found = find_spec("trl")
    folders = found.submodule_search_locations if found else None
    paths = [each for folder in folders or () for each in Path(folder).rglob("*.jinja")]
    return [pytest.param(path.read_text("utf-8"), id=path.stem) for path in sorted(paths)]


def theirs(source: str, sample: Instruction, *, in_parts: bool) -> str | None:
    """The text of `transformers`; None where the template refuses the sample."""
    import jinja2

    def content(parts: Any) -> Any:
        return typed(parts) if in_parts else "".join(parts)

    said = [{"role": each.role, "content": content(each.parts)} for each in sample.turns]
    if sample.system:
        said.insert(0, {"role": "system", "content": content((sample.system,))})
    try:
        texts, _ = rendering.render_jinja_template([said], chat_template=source, **TOKENS)
    except jinja2.TemplateError:
        return None
    return str(texts[0])


@pytest.mark.parametrize("source", [CHATML, VISION, *shipped()])
def test_the_text_is_that_of_transformers(source: str, tmp_path: Path) -> None:
    """Or the sample is refused: by the template, or because it has no place for an image."""
    (tmp_path / "chat_template.jinja").write_text(source)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(TOKENS))
    template = ChatTemplate(tmp_path)
    rendered = 0
    for sample in SAMPLES:
        if sample.images and not template.sees:
            with pytest.raises(SinkError, match="no place for images"):
                template.render(sample)
            continue
        expected = theirs(source, sample, in_parts=template.in_parts)
        if expected is None:
            with pytest.raises(SinkError):
                template.render(sample)
            continue
        assert template.render(sample) == expected
        rendered += 1
    assert rendered
