"""A store in one JSON object, found on the bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirage.errors import MediaError
from mirage.store import Finding, open_store, scan

from .making import images, json_file, texts

TEXTS = st.text(alphabet='aé"\\/{[]},: \n\x00', max_size=6)
OTHERS = [None, True, -1.5e3, [], {}, [1, "]"], {'"': ["}", {}]}]


def keys_and_findings(path: Path) -> tuple[list[str], list[Finding]]:
    findings: list[Finding] = []
    with open_store(path) as store:
        return [entry.key for entry in store.entries(findings.append)], findings


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(TEXTS, TEXTS | st.sampled_from(OTHERS), max_size=4),
    st.fixed_dictionaries({"indent": st.sampled_from([None, 0, 3]), "ensure_ascii": st.booleans()}),
    st.integers(1, 40),
)
def test_the_entries_are_those_that_json_finds(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, object],
    style: dict[str, Any],
    chunk: int,
) -> None:
    """Whatever stands in keys and values, and wherever a piece of the file ends."""
    monkeypatch.setattr(scan, "CHUNK", chunk)
    path = tmp_path / "any.json"
    path.write_text(json.dumps(given, **style), "utf-8")
    with open_store(path) as store:
        told: list[Finding] = []
        entries = list(store.entries(told.append))
        assert [entry.key for entry in entries] == [
            key for key, value in given.items() if isinstance(value, str)
        ]
        assert [store.text(entry).decode() for entry in entries] == [
            value for value in given.values() if isinstance(value, str)
        ]
        assert [each.rule for each in told] == ["type"] * (len(given) - len(entries))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_what_stands_before_a_tear_is_read(tmp_path: Path, data: st.DataObject) -> None:
    """Wherever the file ends, every whole entry is there, and the place is told."""
    of = images(5, size=20)
    whole = json.dumps(texts(of)).encode()
    cut = data.draw(st.integers(0, len(whole) - 1))
    path = tmp_path / "torn.json"
    path.write_bytes(whole[:cut])
    found, findings = keys_and_findings(path)
    ends = [whole.index(b'"', whole.index(text.encode())) for text in texts(of).values()]
    assert found == [key for key, end in zip(of, ends, strict=True) if end < cut]
    (finding,) = findings
    assert finding.rule == "torn"
    assert int(finding.place.rpartition(" ")[2]) <= cut


def test_a_torn_store_still_gives_its_images(tmp_path: Path) -> None:
    of = images(10)
    path = json_file(tmp_path / "torn.json", of)
    path.write_bytes(path.read_bytes()[:-200])
    with open_store(path) as store:
        assert store.read("TOY_IMG_000003") == of["TOY_IMG_000003"]
        assert "TOY_IMG_000009" not in store
        assert store.torn is not None
        offset = int(store.torn.place.rpartition(" ")[2])
    assert path.read_bytes()[offset:].startswith(b'"')


@pytest.mark.parametrize(
    ("text", "keys", "rule", "offset"),
    [
        (b'{"a": "QQ==" "b": "QQ=="}', ["a"], "torn", 13),
        (b'{"a": "QQ==", }', ["a"], "torn", 14),
        (b'{"a" "QQ=="}', [], "torn", 5),
        (b'{"a": }', [], "torn", 6),
        (b'{"a": "QQ=="} {"b": "QQ=="}', ["a"], "torn", 14),
        (b'{"a": "QQ==", "\\ud800": "QQ==", "c": "QQ=="}', ["a", "c"], "key", 14),
        (b'{"a": "QQ==", "\xff": "QQ==", "c": "QQ=="}', ["a", "c"], "key", 14),
        (b'{"a": "QQ==", "b": null, "c": "QQ=="}', ["a", "c"], "type", 14),
        (b'{"a": "QQ==", "b": {"x": ["}", 1]}, "c": "QQ=="}', ["a", "c"], "type", 14),
    ],
)
def test_a_fault_is_told_with_its_byte(
    tmp_path: Path, text: bytes, keys: list[str], rule: str, offset: int
) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text)
    found, findings = keys_and_findings(path)
    assert found == keys
    assert [(each.place, each.rule) for each in findings] == [(f"{path}: byte {offset}", rule)]


def test_a_slash_may_be_escaped(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b'{"a\\/b": "\\/9j\\/4A=="}')
    with open_store(path) as store:
        assert store.read("a/b") == b"\xff\xd8\xff\xe0"


def test_a_bom_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b'\xef\xbb\xbf {"a": "QQ=="}')
    assert keys_and_findings(path) == (["a"], [])


def test_a_quote_that_is_missing_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text that seems to go on is refused by its length, before it is read."""
    monkeypatch.setattr("mirage.store.json_file.MAX_TEXT", 1_000)
    path = tmp_path / "x.json"
    path.write_bytes(orjson.dumps({"a": "A" * 2_000, "b": "QQ=="}))
    with open_store(path) as store:
        with pytest.raises(MediaError) as caught:
            store.read("a")
        assert caught.value.kind == "bomb"
        assert store.read("b") == b"A"
