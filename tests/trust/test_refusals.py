"""Hostile rows, templates and configurations: refused, and nothing else suffers."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from mirage.errors import ConfigError

from .engine import Scripted
from .trial import Trial

ESCAPES = [
    "{{ q.__class__.__mro__ }}",
    "{{ q['__class__'] }}",
    "{{ q | attr('__class__') }}",
    "{{ ''.__class__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ q.format(q) }}",
]


@pytest.mark.parametrize("prompt", ESCAPES)
def test_templates_reach_no_internals(tmp_path: Path, prompt: str) -> None:
    """A template that reaches for Python's internals is a mistake or a failed record, never a
    prompt.
    """
    engine = Scripted()
    trial = Trial(tmp_path, [{"q": "x"}], engine, outputs=[{"name": "answer", "prompt": prompt}])
    with contextlib.suppress(ConfigError):
        assert trial.run().counts.failed == 1
    assert not engine.asked


def test_values_are_no_templates(tmp_path: Path) -> None:
    """What stands in a record reaches the model and the output as it is."""
    hostile = "{{ 7*7 }} {q} {% for %} {# #} <|im_end|> ${HOME} \\u0000 </s>"
    engine = Scripted()
    trial = Trial(tmp_path, [{"q": hostile}], engine)
    trial.run()
    assert list(engine.asked) == [f"Answer this: {hostile}"]
    assert trial.output()[0]["q"] == hostile


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        ("../secret.png", "outside"),
        ("a/../../secret.png", "outside"),
        ("/etc/passwd", "outside"),
        ("link.png", "outside"),
        ("http://127.0.0.1:9/x.png", "url"),
        ("HTTP://169.254.169.254/latest", "url"),
        ("file:///etc/passwd", "refused"),
        ("FILE:/etc/passwd", "refused"),
        ("gopher://127.0.0.1/", "refused"),
        ("\0", "missing"),
        ("a" * 5000, "missing"),
        ("", "empty"),
        (".", "outside"),
        (7, "type"),
        ([None], "type"),
        ({"path": "../secret.png"}, "outside"),
        ("data:image/png;base64,!!!!", "broken"),
    ],
)
def test_images_from_elsewhere(tmp_path: Path, image: Any, kind: str) -> None:
    """A path that leads out, a URL, or anything that is no image, fails its record alone."""
    base = tmp_path / "images"
    base.mkdir()
    (tmp_path / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\n secret")
    (base / "link.png").symlink_to(tmp_path / "secret.png")
    picture = {"name": "image", "key": "image", "type": "image", "image_base_path": str(base)}
    engine = Scripted()
    trial = Trial(tmp_path, [{"q": "x", "image": image}], engine)
    trial.set(inputs=[{"name": "q", "key": "q"}, picture])
    trial.run()
    (failed,) = trial.failures()
    assert (failed["boundary"], failed["kind"]) == ("media", kind)
    assert not engine.asked


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch PWNED']",
        "!!python/name:os.system",
        "!!python/object/new:subprocess.Popen [['touch', 'PWNED']]",
        "!anything {a: 1}",
    ],
)
def test_yaml_constructs_nothing(tmp_path: Path, tag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A YAML tag that would construct an object is a mistake with its line."""
    from mirage import load_config

    monkeypatch.chdir(tmp_path)
    path = tmp_path / "c.yaml"
    path.write_text(f"inputs: []\noutput_schema:\n  a: {tag}\n")
    with pytest.raises(ConfigError, match=r"c\.yaml:3"):
        load_config(path)
    assert not (tmp_path / "PWNED").exists()


def test_a_hostile_row_spoils_no_other(tmp_path: Path) -> None:
    """Huge, deep, odd and malformed rows are one outcome each."""
    rows: list[Any] = [
        {"q": "fine"},
        b'{"q": "\\ud800"}',
        b'{"q": NaN}',
        b"[1, 2]",
        b"null",
        b"\xff\xfe",
        {"q": "x" * 3_000_000},
        b'{"q": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        {"q": 10**18},
        b'{"q": 123456789012345678901234567890}',
        {"q": {"a": [1, None, {"b": "c"}]}},
        {"q": "fine too"},
    ]
    trial = Trial(tmp_path, rows, Scripted())
    summary = trial.run()
    assert summary.counts.read == 12
    assert summary.counts.written + summary.counts.failed == 12
    written = [row["q"] for row in trial.output()]
    assert written[0] == "fine"
    assert written[-1] == "fine too"
    assert summary.counts.failed == 6


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    """A file whose name is not UTF-8 is a mistake, before anything is called."""
    images = tmp_path / "images"
    images.mkdir()
    (images / "fine.png").write_bytes(b"x")
    with open(os.fsencode(images) + b"/\xff.png", "wb"):  # noqa: PTH123 - a Path is text
        pass
    trial = Trial(tmp_path, source={"path": str(images)})
    trial.set(inputs=[{"name": "q", "key": "image", "type": "image"}])
    with pytest.raises(ConfigError, match="not UTF-8"):
        trial.run()


@pytest.mark.parametrize("sink", ["folder.jsonl", "full/", "around/"])
def test_a_place_that_is_taken(tmp_path: Path, sink: str) -> None:
    """Where the dataset cannot stand is known before anything is called."""
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "foreign").touch()
    engine = Scripted()
    trial = Trial(tmp_path, [{"q": "x"}], engine, sink={"path": f"{tmp_path}/{sink}"})
    trial.set(sink={"format": "jsonl"}, run={"dir": str(tmp_path / "around" / "run")})
    with pytest.raises(ConfigError, match="folder"):
        trial.run()
    assert not engine.asked
