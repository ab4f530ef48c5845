"""A video, decoded: the frame that is shown at 0, 1, 2, ... seconds.

Presentation times decide, as exact fractions, never a frame rate: 29.97 frames a second do not
drift, and a frame that is shown for two seconds is given twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from mirage.errors import MediaError, boundary

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from PIL.Image import Image as Pixels

FORMATS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,h264,hevc,m4v"
"""Kinds of files that hold a video themselves: a playlist would have other files opened."""
LONGEST = 3600
"""Seconds that one frame may be shown; more is a broken time, which would never come to an end."""


def seconds(path: Path) -> Iterator[tuple[int, VideoFrame]]:
    """Second by second from the first frame on, what is shown then.

    Raises MediaError: "broken" where it does not decode (any further), "truncated" where it ends
    more than a second early, "times" where a frame is shown for longer than an hour.
    """
    with boundary(MediaError, "broken"), opened(path) as container:
        if not container.streams.video:
            raise MediaError("no_video", "there is no video in it")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        second, end, held = 0, Fraction(0), None
        for frame, start, stop in timed(container, stream):
            if start - second > LONGEST:
                raise MediaError("times", f"a frame at {float(end):.0f} s, the next at {start} s")
            while held is not None and second < start:
                yield second, held
                second += 1
            held, end = frame, stop
        while held is not None and second < end:
            yield second, held
            second += 1
        whole = (stream.duration or 0) * (stream.time_base or 0)
        if whole > end + 1:
            raise MediaError("truncated", f"it ends after {float(end):.1f} of {float(whole):.1f} s")


def timed(
    container: InputContainer, stream: VideoStream
) -> Iterator[tuple[VideoFrame, Fraction, Fraction]]:
    """Every frame, with the times in seconds from which and until which it is shown.

    AVI has no presentation times, so those that a decoder makes up are passed over: its frames are
    shown as they come, each in its own slot.
    """
    slots = container.format.name == "avi"
    usual = 1 / stream.average_rate if stream.average_rate else Fraction(0)
    first, end = None, Fraction(0)
    for frame in container.decode(stream):
        tick = frame.time_base or stream.time_base or Fraction(1)
        stamp = frame.dts if slots else frame.pts
        if first is None:
            first = (stamp or 0) * tick
        start = end if stamp is None else stamp * tick - first
        length = frame.duration * tick if frame.duration else usual or tick
        end = max(end, start + length)
        yield frame, start, end


def pixels(frame: VideoFrame) -> Pixels:
    """A frame as it is meant to be seen: upright, in RGB."""
    if frame.is_corrupt:
        raise MediaError("broken", "the frame is damaged")
    with boundary(MediaError, "broken"):
        image: Pixels = frame.to_image()  # type: ignore[no-untyped-call]
        return image.rotate(frame.rotation, expand=True) if frame.rotation else image


def opened(path: Path) -> InputContainer:
    import av

    return av.open(
        str(path), metadata_errors="replace", container_options={"format_whitelist": FORMATS}
    )
