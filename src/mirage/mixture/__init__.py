"""Training mixtures of MIMIC-IT: which datasets, how much of each, in which order, as what text.

    declaration.py   the data YAML, and all its mistakes
    sampling.py      how much of what, in which order
    entries.py       one JSON object, any entry by number or key
    dataset.py       one dataset: instructions, training set, image stores
    mixture.py       all of them as one list of examples
    checking.py      rules between the files
    rendering.py     an example as a conversation and as training text; chat.py by a chat template
    writing.py       an epoch through any sink
    loading.py       an epoch for a training loop

The functions here take what a person writes, from the current folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mirage.mixture.loading import Examples
    from mirage.mixture.mixture import Mixture


def open_mixture(path: str | Path, *, seed: int = 0) -> Mixture:
    """The mixture that a data YAML declares. Raises ConfigError with all mistakes."""
    from mirage.mixture.declaration import load_declaration
    from mirage.mixture.mixture import Mixture

    return Mixture(load_declaration(path), seed)


def load_mixture(
    path: str | Path,
    *,
    seed: int = 0,
    render: str = "simple",
    tokenizer: str | Path | None = None,
    transform: Callable[[Any], Any] | None = None,
) -> Examples:
    """The examples of a data YAML for a training loop; see `Examples`.

    `render` is "simple", or "chat" with the folder of a `tokenizer`.
    """
    from mirage.mixture.loading import Examples
    from mirage.mixture.writing import rendering

    return Examples(open_mixture(path, seed=seed), rendering(render, tokenizer), transform)


def load_mimicit(
    instructions: str | Path,
    *,
    images: str | Path | None = None,
    train: str | Path | None = None,
    group: str = "IMAGE_TEXT",
    seed: int = 0,
    render: str = "simple",
    tokenizer: str | Path | None = None,
    transform: Callable[[Any], Any] | None = None,
) -> Examples:
    """One dataset of MIMIC-IT for a training loop: its files instead of a data YAML.

    `group` says how examples are shown: "IMAGE_TEXT", "TEXT_ONLY", "IMAGE_TEXT_IN_CONTEXT" or
    "VIDEO_TEXT". Where `train` is not given, every instruction is trained on.
    """
    from mirage.errors import ConfigError, Mistake
    from mirage.mixture.declaration import GROUPS, Declaration, Declared
    from mirage.mixture.loading import Examples
    from mirage.mixture.mixture import Mixture
    from mirage.mixture.writing import rendering

    if group not in GROUPS:
        raise ConfigError([Mistake("group", f"must be one of {', '.join(GROUPS)}")])
    for each in (instructions, images, train):
        if each is not None and not Path(each).exists():
            raise ConfigError([Mistake("", f"{each} does not exist")])
    path = Path(instructions)
    name = path.name.removesuffix(".json").removesuffix("_instructions")
    stores = () if images is None else (Path(images),)
    declared = Declared(group, name, path, stores, None if train is None else Path(train))
    mixture = Mixture(Declaration((declared,)), seed)
    return Examples(mixture, rendering(render, tokenizer), transform)
