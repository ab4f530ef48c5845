"""The model that sees, from a training step to llama.cpp: the same answer as in PyTorch."""

from __future__ import annotations

import argparse
import importlib
import random
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")
sys.path.insert(0, str(Path(__file__).parents[2] / "demo"))
captions, evaluate, export, lessons, parity, training = (
    importlib.import_module(name)
    for name in (
        "captions",
        "evaluate_seeing",
        "export_seeing",
        "lessons",
        "parity_seeing",
        "train_seeing",
    )
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoint and the files of a model that has hardly been trained."""
    folder = tmp_path_factory.mktemp("seeing")
    torch.set_num_threads(1)
    args = argparse.Namespace(out=folder, steps=100, alone=1, batch=4, seed=0)
    args.rate, args.adam_rate, args.decay = 0.01, 0.0015, 0.2
    run = training.Run(args)
    before = {name: weight.clone() for name, weight in run.model.named_parameters()}
    rng = random.Random(0)
    run.learn(rng)
    assert torch.equal(before["outer.weight"], run.model.outer.weight)
    run.learn(rng)
    still = [n for n, weight in run.model.named_parameters() if torch.equal(before[n], weight)]
    assert not still
    run.save()
    export.export(run.checkpoint, folder)
    return folder


def test_a_run_goes_on_from_its_checkpoint(trained: Path) -> None:
    """Weights, optimisers and counts are those that were saved."""
    args = argparse.Namespace(out=trained, steps=100, alone=1, batch=4, seed=1)
    args.rate, args.adam_rate, args.decay = 0.01, 0.0015, 0.2
    run = training.Run(args)
    run.load()
    assert run.step == 2
    run.learn(random.Random(1))
    assert run.step == 3


def test_pytorch_and_llamacpp_agree(trained: Path) -> None:
    """The first token has the same probability, whatever the shape of the picture."""
    model = parity.load(trained / "checkpoint.pt")
    files = (trained / "seeing.gguf", trained / "seeing-mmproj.gguf")
    server: Any = evaluate.start_server(*files, threads=1)
    found = lessons.held_out(6, 4)
    assert len({lesson.image.size for lesson in found}) > 2
    for lesson in found:
        _, ours = parity.greedy(model, lesson, limit=1)
        _, theirs, length = parity.spoken(server, lesson, limit=1)
        assert ours[0] == pytest.approx(theirs[0], abs=0.02)
        assert length == 1 + 64 + len(captions.TOKENS.encode(lesson.prompt)) + 1


def test_every_attribute_counts_once() -> None:
    """The right answer has all of them, an empty one none, an invented shape costs one."""
    for lesson in lessons.held_out(40, 6):
        right = list(evaluate.Reply(lesson, lesson.answer).attributes())
        wrong = list(evaluate.Reply(lesson, "").attributes())
        assert [name for name, _ in right] == [name for name, _ in wrong]
        assert all(hit for _, hit in right) and not any(hit for _, hit in wrong)
    lesson = next(each for each in lessons.held_out(40, 6) if each.drawing.shapes)
    free = next(p for p in range(9) if p not in {shape.place for shape in lesson.drawing.shapes})
    place = captions.capitalize(captions.PLACES[free])
    told = lesson.answer.replace(". ", f". {place}: a small red star. ", 1)
    hits = [hit for _, hit in evaluate.Reply(lesson, told).attributes()]
    assert hits.count(False) == 1
