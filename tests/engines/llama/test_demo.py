"""The models that ship, as `llamacpp:demo`: one sees pictures, the other one reads texts."""

from __future__ import annotations

import asyncio
import importlib
import io
import sys
from pathlib import Path
from typing import Any

import pytest

from mirage import recipes
from mirage.config.models import EngineConfig
from mirage.engines import describe, identity, open_engine
from mirage.errors import ConfigError
from mirage.record import Engine

from ..asking import answers, picture, request

pytest.importorskip("xllamacpp")
sys.path.insert(0, str(Path(__file__).parents[3] / "demo"))
captions, drawings, lessons = (
    importlib.import_module(name) for name in ("captions", "drawings", "lessons")
)


def opened(**keys: Any) -> Engine:
    config = EngineConfig(model_path="demo", **keys)
    return open_engine(config, backend="llamacpp", name="engine", base=Path())


def png(image: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def drawn(*shapes: tuple[str, str, bool, int], size: tuple[int, int] = (128, 128)) -> bytes:
    """A PNG of these shapes: kind, colour, whether large, and place."""
    wide, high = size[0] / 3, size[1] / 3
    placed = tuple(
        drawings.Shape(
            kind,
            colour,
            drawings.COLOURS[colour],
            large,
            place,
            wide * (place % 3 + 0.5),
            high * (place // 3 + 0.5),
            min(wide, high) * (0.43 if large else 0.22),
        )
        for kind, colour, large, place in shapes
    )
    return png(drawings.Drawing(*size, (250, 250, 250), placed).render(192))


def test_it_says_what_it_sees_and_keeps_the_note() -> None:
    """A wrong caption is put right, and what no picture can tell is kept."""
    data = drawn(("circle", "red", True, 0), ("star", "blue", False, 8))
    asked = captions.document_prompt("two green squares, drawn by Wilma")
    (found,) = answers(opened(), request(picture(data), asked))
    assert found.text == (
        "Two shapes. Top left: a large red circle. Bottom right: a small blue star. Drawn by Wilma."
    )


@pytest.mark.parametrize("size", [(128, 85), (85, 128), (128, 96)])
def test_pictures_need_not_be_square(size: tuple[int, int]) -> None:
    """llama.cpp pads them, and so did the training."""
    data = drawn(("triangle", "green", True, 4), ("square", "purple", True, 2), size=size)
    (found,) = answers(opened(), request(picture(data), captions.document_prompt("shapes")))
    assert found.text == (
        "Two shapes. Top right: a large purple square. Center: a large green triangle."
    )


def test_most_of_a_handful_of_held_out_drawings_are_right() -> None:
    """Twelve drawings, word for word: evaluate_seeing.py counts many more."""
    found = lessons.held_out(12, seed=21)
    asked = [request(picture(png(each.image)), each.prompt) for each in found]
    said = [answer.text for answer in answers(opened(), *asked)]
    right = sum(text == each.answer for text, each in zip(said, found, strict=True))
    assert right >= 10, list(zip(said, [each.answer for each in found], strict=True))


def test_what_it_does_not_know_it_says() -> None:
    """A blank page and noise are nothing that it knows."""
    found = [each for each in lessons.held_out_strange(24, 3) if each.kind in ("blank", "noise")]
    asked = [request(picture(png(each.image)), each.prompt) for each in found[:5]]
    assert {answer.text for answer in answers(opened(), *asked)} == {"Nothing I know."}


def test_texts_go_to_the_model_that_reads() -> None:
    """The recipe of the first example has its answer from the same engine."""
    (output,) = recipes.load("demo/reformat.yaml")["outputs"]
    prompt = output["prompt"].replace(
        "{assistant_answer}", "first wipe off the dust, then spray the glass, finally polish it dry"
    )
    (found,) = answers(opened(), request(prompt))
    assert found.text == "1. Wipe off the dust\n2. Spray the glass\n3. Polish it dry"


def test_the_manifest_names_both_models() -> None:
    """And the engine takes images as well as schemas."""

    async def described(engine: Engine) -> dict[str, Any]:
        await engine.start()
        found = describe(engine)
        await engine.close()
        return found

    found = asyncio.run(described(opened(max_in_flight=3)))
    assert found["model"] == "model.gguf, seeing.gguf"
    assert (found["capacity"], found["images"], found["schema"]) == (3, True, True)


def test_the_identity_is_that_of_both_models() -> None:
    """Three files decide the answers; the limits of a run do not."""
    plain = identity(EngineConfig(model_path="demo"), "llamacpp")
    other = identity(EngineConfig(model_path="demo", max_in_flight=2), "llamacpp")
    template = identity(EngineConfig(model_path="demo", chat_template="chatml"), "llamacpp")
    assert plain == other != template
    assert plain.count("gguf:") == 2


def test_another_projector_is_refused() -> None:
    """The model that sees has its own."""
    with pytest.raises(ConfigError) as caught:
        opened(args={"mmproj": "eyes.gguf"})
    assert [mistake.path for mistake in caught.value.mistakes] == ["engine.args.mmproj"]


def test_the_shipped_models_are_small() -> None:
    """All that the demonstration ships stays below 20 MB."""
    folder = Path(recipes.__file__).parent / "demo"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 20e6
