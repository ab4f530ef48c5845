"""`dataset_info.json`: whose it is, what it says of a file, and what is added to it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mirage import dataset
from mirage.dataset.verification import Violation
from mirage.errors import ConfigError, RunError
from mirage.formats import shape
from mirage.formats.dataset_info import Described, described, entry, formatting, updated

PAGES = Path(__file__).parents[2] / "docs" / "formats"
SAID = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "A cat."}]
ROWS = [{"conversations": SAID, "source": "chat"}]
PAIR = {"role": "assistant", "content": "b"}, {"role": "assistant", "content": "a"}
ASKED = [{"role": "user", "content": "Which?"}]
RANKED = {"messages": ASKED, "chosen": PAIR[0], "rejected": PAIR[1], "images": []}
PLAIN = {"messages": [*ASKED, PAIR[0]], "images": []}


def sharegpt() -> Described:
    form = shape("sharegpt")
    assert isinstance(form, Described)
    return form


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), "utf-8")
    return path


def info(folder: Path) -> Any:
    return json.loads((folder / "dataset_info.json").read_text("utf-8"))


def test_a_dataset_is_described_where_it_is_written(here: Path) -> None:
    """With the columns that its rows have, and the tags of its messages."""
    put(here / "in.json", ROWS)
    dataset.convert("in.json", "out/train.json", to="sharegpt")
    dataset.convert("in.json", "out/again.jsonl", to="alpaca")
    found = info(here / "out")
    rows = json.loads((here / "out" / "train.json").read_text("utf-8"))
    assert [*found] == ["train", "again"]
    assert found["train"]["file_name"] == "train.json"
    assert found["train"]["formatting"] == "sharegpt"
    assert not found["train"]["ranking"]
    assert {*found["train"]["columns"].values()} <= {*rows[0]}
    assert found["train"]["tags"]["role_tag"] in rows[0]["messages"][0]
    assert found["again"]["columns"]["query"] == "input"


def test_what_else_is_described_is_kept(here: Path) -> None:
    """Other entries stay as they are, and so do other keys of one's own."""
    put(here / "in.json", ROWS)
    other = {"hf_hub_url": "someone/cats", "formatting": "sharegpt"}
    mine = {"file_name": "train.json", "num_samples": 7, "columns": {"prompt": "text"}}
    put(here / "dataset_info.json", {"cats": other, "train": mine})
    dataset.convert("in.json", "train.json", to="alpaca")
    found = info(here)
    assert found["cats"] == other
    assert found["train"]["num_samples"] == 7
    assert found["train"]["columns"]["prompt"] == "instruction"


def test_a_name_that_is_taken_is_left_to_its_owner(here: Path) -> None:
    """Then the entry has the name of the file."""
    put(here / "in.json", ROWS)
    put(here / "dataset_info.json", {"train": {"file_name": "train.csv"}})
    dataset.convert("in.json", "train.json", to="alpaca")
    assert [*info(here)] == ["train", "train.json"]
    assert info(here)["train"] == {"file_name": "train.csv"}


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        ([PLAIN], {"train": False}),
        ([RANKED], {"train": True}),
        ([PLAIN, RANKED], {"train": False, "train_ranking": True}),
        ([], {"train": False}),
    ],
    ids=["plain", "ranked", "both", "none"],
)
def test_rows_with_a_rejected_answer_have_an_entry_of_their_own(
    here: Path, rows: list[Any], names: dict[str, bool]
) -> None:
    """The loader takes one kind of row from an entry; an earlier entry that is of no use goes."""
    put(here / "in.json", [PLAIN, RANKED])
    dataset.convert("in.json", "train.json", to="sharegpt", format="sharegpt")
    put(here / "in.json", rows)
    dataset.convert("in.json", "train.json", to="sharegpt", format="sharegpt")
    found = info(here)
    assert {name: entry["ranking"] for name, entry in found.items()} == names
    assert all(("chosen" in e["columns"]) == e["ranking"] for e in found.values())


@pytest.mark.parametrize("content", ['{"a": {"file', "[]", '{"features": {}, "description": ""}'])
def test_what_cannot_be_added_to_is_found_before_anything_is_written(
    here: Path, content: str
) -> None:
    """A torn file, or one of that name that another program wrote."""
    put(here / "in.json", ROWS)
    (here / "out").mkdir()
    (here / "out" / "dataset_info.json").write_text(content)
    with pytest.raises(RunError, match=r"dataset_info\.json"):
        dataset.convert("in.json", "out/train.json", to="sharegpt")
    assert [path.name for path in (here / "out").iterdir()] == ["dataset_info.json"]
    assert (here / "out" / "dataset_info.json").read_text() == content


def test_a_folder_of_shards_is_refused(here: Path) -> None:
    """LLaMA-Factory takes every entry of a folder for a shard, that of the images too."""
    put(here / "in.json", ROWS)
    with pytest.raises(ConfigError, match="one file"):
        dataset.convert("in.json", "out/", to="sharegpt")


COLUMNS = {"messages": "talk", "system": "rules", "images": "pictures"}
TAGS = {"role_tag": "by", "content_tag": "said", "user_tag": "me", "assistant_tag": "it"}


def test_columns_and_tags_are_those_that_are_said(here: Path) -> None:
    """A row is read as its file is described, and what is not named is a further column."""
    talk = [{"by": "me", "said": "What?"}, {"by": "it", "said": "A cat."}]
    put(
        here / "odd.json", [{"talk": talk, "rules": "Be brief.", "system": "aside", "pictures": []}]
    )
    entry = {"file_name": "odd.json", "formatting": "sharegpt", "columns": COLUMNS, "tags": TAGS}
    put(here / "dataset_info.json", {"odd": entry})
    done = dataset.convert("odd.json", "out.jsonl", to="messages")
    row = json.loads((here / "out.jsonl").read_text("utf-8"))
    assert (done.source, done.written) == ("sharegpt", 1)
    assert [each["role"] for each in row["messages"]] == ["system", "user", "assistant"]
    assert row["meta"] == {"system": "aside"}
    assert dataset.verify("odd.json").sound


def test_alpaca_is_read_by_the_columns_that_are_said(here: Path) -> None:
    """An entry that names no system column has none, whatever the row holds."""
    put(here / "odd.json", [{"q": "What?", "more": "Now!", "a": "A cat.", "system": "Be brief."}])
    columns = {"prompt": "q", "query": "more", "response": "a"}
    put(here / "dataset_info.json", {"odd": {"file_name": "odd.json", "columns": columns}})
    dataset.convert("odd.json", "out.jsonl", to="messages")
    row = json.loads((here / "out.jsonl").read_text("utf-8"))
    texts = [each["content"][0]["text"] for each in row["messages"]]
    assert texts == ["What?\nNow!", "A cat."]
    assert row["meta"] == {"system": "Be brief."}


def test_a_row_of_the_other_kind_breaks_a_rule(here: Path) -> None:
    """Where all rows are said to have a rejected answer, the loader drops those without."""
    put(here / "train.json", [RANKED, PLAIN])
    entry = {"file_name": "train.json", "formatting": "sharegpt", "ranking": True}
    columns = {name: name for name in ("messages", "images", "chosen", "rejected")}
    tags = sharegpt().written.tags
    put(here / "dataset_info.json", {"train": {**entry, "columns": columns, "tags": {**tags}}})
    found: list[Violation] = []
    dataset.verify("train.json", report=found.append)
    assert [(each.place, each.rule) for each in found] == [("0/train.json#1", "ranking")]


def test_a_description_of_another_format_is_no_hint(here: Path) -> None:
    """Named otherwise, the file is refused; a file that nobody describes is what its rows are."""
    path = put(here / "train.json", [RANKED])
    put(here / "dataset_info.json", {"train": {"file_name": "train.json"}})
    assert formatting(path) == "alpaca"
    assert formatting(here / "other.json") is None
    with pytest.raises(ValueError, match="alpaca, not sharegpt"):
        described(shape("sharegpt"), path)
    assert described(shape("llava"), path) is shape("llava")


def test_a_torn_description_is_named_when_it_is_read(here: Path) -> None:
    """LLaMA-Factory would not open it either."""
    put(here / "train.json", [RANKED])
    (here / "dataset_info.json").write_text('{"train": {')
    with pytest.raises(ConfigError, match="torn"):
        dataset.verify("train.json", format="sharegpt")


def test_a_description_is_no_data(here: Path) -> None:
    """A folder is read without it."""
    put(here / "train.json", [PLAIN])
    put(here / "dataset_info.json", {"train": {"file_name": "train.json"}})
    assert dataset.verify(".", format="json").rows == 1


def test_verify_finds_what_rows_break_together(here: Path) -> None:
    """In every file anew."""
    Image.new("RGB", (3, 2)).save(here / "a.png")
    said = [{"role": "user", "content": "<image>Which?"}, PAIR[0]]
    rows = [PLAIN] * 1000 + [{"messages": said, "images": ["a.png"]}]
    put(here / "train-1.json", rows[:600])
    put(here / "train-2.json", rows[600:])
    put(here / "whole.json", rows)
    names = ("train-1.json", "train-2.json", "whole.json")
    put(here / "dataset_info.json", {n: entry(sharegpt(), n, False) for n in names})
    found: list[Violation] = []
    assert dataset.verify("train-*.json").sound
    dataset.verify("whole.json", report=found.append)
    assert [(each.place, each.rule) for each in found] == [("0/whole.json#1000", "late-images")]


@pytest.mark.parametrize("name", ["sharegpt", "alpaca"])
def test_the_page_shows_the_description_that_is_written(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text("utf-8")
    (shown,) = re.findall(r"^```jsonc\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    form = shape(name)
    assert isinstance(form, Described)
    assert updated({}, form, "train.json", {False}) == json.loads(shown)
