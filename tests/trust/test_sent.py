"""What a request holds: every image that the configuration names, where it names it, or nothing."""

from __future__ import annotations

import io
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mirage.engines.mock import Behaviour, running
from mirage.errors import ConfigError, RunError
from mirage.record import Abilities, Picture

from .engine import Seeing
from .test_elsewhere import IMAGE, INPUTS, embedded, trial_of
from .test_images import DIGESTS, PICTURES, ROW
from .trial import Trial


def test_more_images_than_the_engine_takes(tmp_path: Path) -> None:
    """A request with more images than the engine takes is a failed record, and is not sent."""
    trial = trial_of(tmp_path, engine := Seeing(max_images=2))
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(PICTURES[number])
    trial.set(inputs=[INPUTS[0], {**IMAGE, "image_base_path": str(tmp_path)}])
    names = [f"{number}.png" for number in range(3)]
    trial.write([{"q": "a", "image": names}, {"q": "b", "image": names[:2]}])
    assert trial.run().counts.failed == 1
    (failed,) = trial.failures()
    assert (failed["boundary"], failed["kind"], failed["step"]) == ("media", "too_many", "answer")
    assert engine.saw == [DIGESTS[:2]]


@pytest.mark.parametrize("image", [None, [], [None]])
def test_fewer_images_than_the_configuration_says(tmp_path: Path, image: Any) -> None:
    """A required image that is not there fails its record; an optional one is not counted."""
    trial = trial_of(tmp_path, engine := Seeing())
    trial.write([{"q": "a", "image": image}])
    assert trial.run().counts.failed == 1
    assert trial.failures()[0]["boundary"] == "media"
    assert not engine.saw
    trial.set(inputs=[INPUTS[0], {**IMAGE, "required": False}])
    trial.run()
    assert engine.saw == ([] if image == [None] else [[]])


def test_a_prompt_that_leaves_an_image_out(tmp_path: Path) -> None:
    """An image that a prompt mentions only under a condition is missed where that does not hold."""
    (tmp_path / "a.png").write_bytes(PICTURES[0])
    prompt = "{q} {% if q == 'with' %}{image}{% endif %}"
    output: dict[str, Any] = {"name": "answer", "prompt": prompt}
    trial = trial_of(tmp_path, engine := Seeing())
    trial.set(inputs=[INPUTS[0], {**IMAGE, "image_base_path": str(tmp_path)}], outputs=[output])
    trial.write([{"q": "with", "image": "a.png"}, {"q": "without", "image": "a.png"}])
    trial.run()
    assert [failed["kind"] for failed in trial.failures()] == ["left_out"]
    assert engine.saw == [[DIGESTS[0]]]
    trial.set(outputs=[{**output, "images": []}])
    assert trial.run().exit_code == 0
    assert engine.saw == [[DIGESTS[0]], []]


def test_some_of_a_list(tmp_path: Path) -> None:
    """Of a list, a prompt may choose."""
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(PICTURES[number])
    trial = trial_of(tmp_path, engine := Seeing())
    base = {**IMAGE, "image_base_path": str(tmp_path)}
    output = {"name": "answer", "prompt": "{image[2]} before {image[0]}: {q}"}
    trial.set(inputs=[INPUTS[0], base], outputs=[output])
    trial.write([{"q": "a", "image": [f"{number}.png" for number in range(3)]}])
    assert trial.run().exit_code == 0
    assert engine.saw == [[DIGESTS[2], DIGESTS[0]]]


def test_images_between_texts(tmp_path: Path) -> None:
    """Images stand where each turn mentions them, once per mention, lists in order; the others
    before the prompt.
    """
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(PICTURES[number])
    trial = trial_of(tmp_path, engine := Seeing())
    base = {"type": "image", "image_base_path": str(tmp_path)}
    names = ("one", "two", "rest")
    trial.set(inputs=[INPUTS[0], *({"name": name, "key": name, **base} for name in names)])
    turns = [{"role": "user", "content": "Like {two}?"}, {"role": "assistant", "content": "Yes"}]
    prompt = "A {two} B {rest}{two} C: {q}"
    trial.set(outputs=[{"name": "answer", "prompt": prompt, "messages": turns}])
    trial.set(output_schema={"q": "{q}", "answer": "{answer}"})
    trial.write([{"q": "?", "one": "0.png", "two": "1.png", "rest": ["2.png", "3.png"]}])
    assert trial.run().exit_code == 0
    (parts,) = engine.parts
    found = [part if isinstance(part, str) else DIGESTS.index(part.digest) for part in parts]
    assert found == ["Like ", 1, "?", "Yes", 0, "A ", 1, " B ", 2, 3, 1, " C: ?"]


def test_a_copy_is_only_what_the_model_sees(tmp_path: Path) -> None:
    """An image over the engine's limits is shown smaller and upright; the output has the original,
    EXIF and all.
    """
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (64, 32), "teal").save(buffer, "JPEG", exif=exif)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    trial = trial_of(tmp_path, engine := Seeing(max_pixels=512), "out.parquet")
    trial.write([{"q": "a", "image": str(tmp_path / "a.jpg")}])
    trial.run()
    shown = engine.parts[0][0]
    assert isinstance(shown, Picture)
    assert shown.copy == "jpeg q95 16x32"
    assert Image.open(io.BytesIO(shown.data)).size == (16, 32)
    assert shown.digest == sha256(buffer.getvalue()).hexdigest()
    assert embedded(trial) == [shown.digest]


def test_a_model_that_takes_no_images(tmp_path: Path) -> None:
    """A model that turns out to take no images ends the run before the first record."""
    engine = Seeing()
    engine.abilities = Abilities(images=False)
    trial = trial_of(tmp_path, engine)
    (tmp_path / "a.png").write_bytes(PICTURES[0])
    trial.write([{"q": "a", "image": str(tmp_path / "a.png")}])
    with pytest.raises(RunError, match="takes none"):
        trial.run()
    assert not engine.saw


def test_what_an_endpoint_is_said_to_take(tmp_path: Path) -> None:
    """`args` of an endpoint bound the images of a request; one that takes none is never asked."""
    names = [str(tmp_path / f"{number}.png") for number in range(3)]
    for name, data in zip(names, PICTURES, strict=False):
        Path(name).write_bytes(data)
    with running(Behaviour()) as server:
        trial = Trial(tmp_path, via=server.base_url, inputs=INPUTS, output_schema=ROW)
        trial.write([{"q": "a", "image": names}, {"q": "b", "image": names[:2]}])
        trial.set(engine={"args": {"max_images": 2}})
        assert trial.run().counts.failed == 1
        assert trial.failures()[0]["kind"] == "too_many"
        asked = server.stats.calls
        trial.set(engine={"args": {"images": False}}, run={"dir": str(tmp_path / "other")})
        with pytest.raises(ConfigError, match="takes none"):
            trial.run()
        assert (asked, server.stats.calls) == (1, 1)
