"""`run.fetch`: whether and how images are fetched whose value is an http(s) URL."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class FetchConfig(BaseModel):
    """Images by URL: fetched once, kept in a folder, and only from public addresses."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    cache: str = "runs/fetched"
    """The folder that keeps what was fetched; several runs may share it."""
    timeout: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Seconds for one image, redirects included."""
    max_bytes: Annotated[int, Field(ge=1, le=1 << 29)] = 64 * 1024 * 1024
    """The largest image, in bytes."""
    redirects: Annotated[int, Field(ge=0, le=50)] = 5
    """How many redirects are followed."""
    retries: Annotated[int, Field(ge=0, le=20)] = 3
    """How often a fault that may pass (a timeout, 429, 5xx) is tried again."""
    per_host: Annotated[int, Field(ge=1, le=32)] = 8
    """How many images are fetched from one host at once."""
    private: bool = False
    """Whether addresses of private networks, and of this machine, are fetched from too."""
    dead: Literal["fail", "drop", "none"] = "fail"
    """What becomes of a record whose image does not exist any more (404, 410): it fails, is
    dropped, or goes on with null in the place of the image."""
