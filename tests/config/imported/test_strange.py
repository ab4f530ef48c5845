"""Old files that are not what they should be."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirage.config.document import read_document
from mirage.config.imported import import_config
from mirage.config.imported.writing import to_yaml
from mirage.errors import ConfigError

from .projects import FILES, NAMES

DATA = {name: read_document((FILES / f"{name}.old.yaml").read_text()).data for name in NAMES}
STRANGE: st.SearchStrategy[Any] = st.sampled_from(
    [None, 5, -1.5, True, "", "text", "$X ${Y} $$", [], [5], [[]], {}, {"a": 1}, {"type": 3}]
)


def paths(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    return [path, *(each for key in keys for each in paths(tree[key], (*path, key)))]


@settings(max_examples=200)
@given(st.data())
def test_anything_anywhere_is_told_or_a_mistake(data: st.DataObject) -> None:
    """Whatever stands in the place of any value: a file is made, or a mistake is named."""
    tree = copy.deepcopy(DATA[data.draw(st.sampled_from(NAMES))])
    path = data.draw(st.sampled_from(paths(tree)[1:]))
    node: Any = tree
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = data.draw(STRANGE)
    try:
        made = import_config(to_yaml(tree), "x.yaml", root=Path("/r"), folder=Path("/r"))
    except ConfigError as error:
        assert error.mistakes[0].message
    else:
        read_document(made.text)


@pytest.mark.parametrize("name", NAMES)
def test_a_comment_that_is_part_of_a_text_is_none(name: str) -> None:
    """A heading in a prompt stands above the next key, and is not its comment."""
    text = (FILES / f"{name}.old.yaml").read_text()
    tree = read_document(text).data
    tree["processing_params"]["outputs"][-1]["prompt"] = "Say\n# Heading\n## End\n"
    made = import_config(to_yaml(tree), "x.yaml", root=Path("/r"), folder=Path("/r"))
    assert made.text.count("# Heading") <= 1
