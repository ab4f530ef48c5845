"""`mirage preview`: prompts, pictures, replies, rows and problems."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

from .commands import document, mirage, project

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def pictured(folder: Path) -> Path:
    config = project(folder, rows=0)
    (folder / "pixel.png").write_bytes(PIXEL)
    row = {"q": "what is it?", "n": 1, "photo": "pixel.png"}
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
    image = f"  - {{name: photo, key: photo, type: image, image_base_path: '{folder}'}}\n"
    text = config.read_text().replace("outputs:", image + "outputs:")
    config.write_text(text.replace("question: '{q}'", "photo: '{photo}', question: '{q}'"))
    return config


def test_preview_shows_prompts_replies_and_rows(tmp_path: Path) -> None:
    """The first records only, within 80 columns, and nothing is written."""
    result = mirage("preview", project(tmp_path), "-n", "2")
    assert result.exit_code == 0
    for said in ("record 1 of 2", "say question 0", "fake ", '"question": "question 1"'):
        assert said in result.stdout
    assert "question 2" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ask.yaml", "rows.jsonl"]


def test_pictures_are_named_by_what_they_are(tmp_path: Path) -> None:
    """Media type, size and digest, in the prompt and in JSON; never the bytes."""
    config = pictured(tmp_path)
    assert f"[image/png {len(PIXEL)} B sha256:" in mirage("preview", config).stdout
    record = document(mirage("preview", config, "--json").stdout)["records"][0]
    picture = record["calls"][0]["messages"][0]["parts"][0]
    assert (picture["media_type"], picture["bytes"]) == ("image/png", len(PIXEL))
    assert record["rows"][0]["photo"] == f"[image/png {len(PIXEL)} B]"


def test_problems_are_told_and_are_exit_code_3(tmp_path: Path) -> None:
    """A failed call is shown with its cause."""
    result = mirage("preview", project(tmp_path, engine="{backend: fake, args: {fail: 1}}"))
    assert result.exit_code == 3
    assert "failed in 'a' (engine/fake)" in result.stdout


def test_long_texts_are_cut_unless_asked_for(tmp_path: Path) -> None:
    """A prompt of a hundred lines is cut, and the cut says how to see it."""
    config = project(tmp_path, rows=1)
    (tmp_path / "rows.jsonl").write_text(json.dumps({"q": "line\n" * 100, "n": 1}) + "\n")
    assert "--full shows them" in mirage("preview", config).stdout
    assert "--full" not in mirage("preview", config, "--full").stdout


def test_data_cannot_drive_the_terminal(tmp_path: Path) -> None:
    """Escape sequences in a row are shown, not sent."""
    config = project(tmp_path, rows=1)
    (tmp_path / "rows.jsonl").write_text(json.dumps({"q": "\x1b[31mred\x07", "n": 1}) + "\n")
    told = mirage("preview", config).stdout
    assert "\x1b" not in told
    assert "\\x1b[31mred\\x07" in told


def test_an_empty_source_has_no_records(tmp_path: Path) -> None:
    """It says so, and JSON has an empty list."""
    config = project(tmp_path, rows=0)
    assert "no rows" in mirage("preview", config).stdout
    assert document(mirage("preview", config, "--json").stdout) == {"records": []}


def test_choices_are_shown_with_their_numbers(tmp_path: Path) -> None:
    """Each choice with its log-probability, and in JSON both lists."""
    config = project(tmp_path)
    text = config.read_text().replace("'say {q}'}", "'say {q}', choices: [good, not so good]}")
    config.write_text(text.replace("answer: '{a}'", "answer: '{a.choice}'"))
    result = mirage("preview", config, "-n", "1")
    assert result.exit_code == 0
    shown = [line.split() for line in result.stdout.splitlines()]
    assert any(words[-3:] == ["not", "so", "good"] and "-" in words[-4] for words in shown if words)
    (call,) = document(mirage("preview", config, "-n", "1", "--json").stdout)["records"][0]["calls"]
    assert call["choices"] == ["good", "not so good"] and len(call["reply"]["logprobs"]) == 2


def test_shared_answers_are_told(tmp_path: Path) -> None:
    """A record whose request was answered for an equal one says so, where no call is shown."""
    config = project(tmp_path, rows=1)
    (tmp_path / "rows.jsonl").write_text((json.dumps({"q": "the same", "n": 1}) + "\n") * 2)
    assert "1 answer to equal requests above" in mirage("preview", config).stdout
    records = document(mirage("preview", config, "--json").stdout)["records"]
    assert [(len(each["calls"]), each["shared"]) for each in records] == [(1, 0), (0, 1)]


def test_what_the_sink_refuses_is_a_problem(tmp_path: Path) -> None:
    """Before all rows are paid for: a sample with an answer alone is none."""
    config = project(tmp_path, rows=1)
    schema = "messages: [{role: assistant, content: '{a}'}]"
    text = re.sub(r"output_schema: .*", f"output_schema: {{{schema}}}", config.read_text())
    config.write_text(re.sub(r"sink: .*", "sink: {path: out.json, format: llava}", text))
    result = mirage("preview", config)
    assert result.exit_code == 3
    assert "failed (sink/format): " in result.stdout
    assert not (tmp_path / "out.json").exists()
