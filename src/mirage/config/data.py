"""`source` and `sink`: where rows come from, and where they go."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

TrainingFormat = Literal[
    "messages",
    "trl",
    "trl-preference",
    "axolotl",
    "openai",
    "a-okvqa",
    "sharegpt",
    "alpaca",
    "ms-swift",
    "llava",
    "qwen-vl",
    "mimic-it",
]
STRICT = ConfigDict(extra="forbid", populate_by_name=True, defer_build=True)


class SourceConfig(BaseModel):
    """Where the rows are."""

    model_config = STRICT

    path: str
    """A file, a glob, a folder, or a Hugging Face dataset as `hf://owner/name`."""
    format: (
        Literal[
            "jsonl",
            "json",
            "csv",
            "tsv",
            "parquet",
            "imagefolder",
            "webdataset",
            "hf",
            TrainingFormat,
        ]
        | None
    ) = None
    """The format of the files, inferred from the path where it can be; or a training format, which
    gives neutral rows: `id`, `messages`, `images` and so on."""
    id: str | None = None
    """A JMESPath expression that names a record; its values must be unique."""
    split: str | None = None
    """Which split of a Hugging Face dataset to read."""
    subset: str | None = None
    """Which configuration of a Hugging Face dataset to read."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Read at most this many rows."""
    image_base_path: str | None = None
    """The folder that image paths are relative to, for all inputs of `type: image`."""
    images: str | None = None
    """`mimic-it`: the image store, where it does not stand beside the instructions."""


class SinkConfig(BaseModel):
    """Where the dataset goes."""

    model_config = STRICT

    path: str
    """A file or a folder."""
    format: (
        Literal["jsonl", "json", "parquet", "hf", "webdataset", "imagefolder", TrainingFormat]
        | None
    ) = None
    """Inferred from the path where it can be. A training format takes neutral rows, or those of any
    training format."""
    container: (
        Literal["jsonl", "json", "parquet", "hf", "webdataset", "imagefolder", "folder"] | None
    ) = None
    """The kind of file that a training format is kept in, where the path does not say it."""
    images: Literal["embed", "path"] = "embed"
    """Whether tables hold the bytes of images or their paths."""
    copy_images: bool = False
    """Whether images that are files are copied to `images` beside the dataset; otherwise they stay
    where they are. Training formats only."""
    meta: dict[str, str] = {}
    """`mimic-it`: what the file says of itself, such as `version`, `time`, `author`."""
