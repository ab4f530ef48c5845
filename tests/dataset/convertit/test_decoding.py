"""A video second by second."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mirage.dataset.convertit.decoding import pixels, seconds
from mirage.errors import MediaError

from .films import NTSC, SIDE, TICK, film, frame, number, turned


def numbers(path: Path) -> list[int]:
    """Which frame is shown at 0, 1, 2, ... seconds."""
    found = [(second, number(pixels(each))) for second, each in seconds(path)]
    assert [second for second, _ in found] == [*range(len(found))]
    return [each for _, each in found]


def test_a_rate_that_is_no_whole_number_does_not_drift(tmp_path: Path) -> None:
    """At 29.97 frames a second, the frame of second n is number floor(29.97 n)."""
    path = film(tmp_path / "ntsc.mp4", [n / NTSC for n in range(700)])
    assert numbers(path) == [math.floor(n * NTSC) for n in range(24)]


def test_a_frame_that_is_shown_for_two_seconds_is_given_twice(tmp_path: Path) -> None:
    """Half a frame a second: nothing is divided by zero, and no second is left out."""
    path = film(tmp_path / "slow.mkv", [0, 2, 4, 5.5], Fraction(1, 1000))
    assert numbers(path) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("kind", ["mp4", "mkv", "mov", "ts", "avi"])
def test_the_kind_of_file_does_not_matter(tmp_path: Path, kind: str) -> None:
    """Nor that frames are stored in another order than they are shown in, nor that AVI has no times
    at all.
    """
    tick = 1 / NTSC if kind == "avi" else TICK
    path = film(tmp_path / f"v.{kind}", [n / NTSC for n in range(200)], tick, "libx264")
    assert numbers(path) == [0, 29, 59, 89, 119, 149, 179]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 2500), min_size=1, max_size=30))
def test_any_times_give_what_is_shown(tmp_path: Path, gaps: list[int]) -> None:
    """Of a variable rate, the last frame that has begun by then; the last of all for its time."""
    times = [Fraction(sum(gaps[:n]), 1000) for n in range(len(gaps) + 1)]
    path = film(tmp_path / "varying.mkv", times, Fraction(1, 1000))
    shown = [max(n for n, t in enumerate(times) if t <= s) for s in range(int(times[-1]) + 1)]
    found = numbers(path)
    assert found[: len(shown)] == shown
    assert found[len(shown) :] in ([], [len(times) - 1])


def test_seconds_count_from_the_first_frame(tmp_path: Path) -> None:
    """Of a recording whose clock was running, nothing is missing and nothing stands before."""
    path = film(tmp_path / "late.ts", [5 + n / NTSC for n in range(95)], TICK)
    assert numbers(path) == [0, 29, 59, 89]


def test_a_video_that_lies_on_its_side_is_turned(tmp_path: Path) -> None:
    """Its left becomes its top, where its header says a quarter to the right."""
    path = tmp_path / "phone.mp4"
    picture = Image.new("RGB", (SIDE * 2, SIDE), "blue")
    picture.paste("red", (0, 0, SIDE, SIDE))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=1)
        stream.width, stream.height, stream.pix_fmt = *picture.size, "yuv420p"
        container.mux(stream.encode(frame(picture)))
        container.mux(stream.encode(None))
    turned(path)
    (shown,) = [pixels(each) for _, each in seconds(path)]
    assert shown.size == (SIDE, SIDE * 2)
    top, bottom = (shown.convert("RGB").getpixel((SIDE // 2, y)) for y in (8, SIDE * 2 - 8))
    assert math.dist(top, (255, 0, 0)) < 50  # type: ignore[arg-type]
    assert math.dist(bottom, (0, 0, 255)) < 50  # type: ignore[arg-type]


def kind(path: Path) -> tuple[list[int], str]:
    """The frames before the error, and its kind."""
    found = []
    with pytest.raises(MediaError) as caught:
        for _, each in seconds(path):
            found.append(number(pixels(each)))
    return found, caught.value.kind


def test_a_video_that_ends_early_gives_what_is_there_and_says_so(tmp_path: Path) -> None:
    """The header of an MP4 still knows how long it was."""
    path = film(tmp_path / "cut.mp4", [n / NTSC for n in range(300)])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    found, said = kind(path)
    assert found and found == [0, 29, 59, 89, 119, 149, 179, 209, 239, 269][: len(found)]
    assert len(found) < 10
    assert said == "truncated"


@pytest.mark.parametrize("name", ["empty.mp4", "text.mp4", "missing.mp4", "folder.mp4"])
def test_what_is_no_video_is_broken(tmp_path: Path, name: str) -> None:
    """Whatever it is, it is one file's trouble."""
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("not a video " * 100)
    (tmp_path / "folder.mp4").mkdir()
    assert kind(tmp_path / name) == ([], "broken")


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    """A file that only names others could have anything on this machine, or elsewhere, read."""
    film(tmp_path / "secret.mp4", [0, 1])
    path = tmp_path / "innocent.mp4"
    path.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    assert kind(path) == ([], "broken")


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    """It is told as such."""
    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        silence = av.AudioFrame(format="s16", layout="mono", samples=800)
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
    assert kind(path) == ([], "no_video")


def test_a_frame_of_many_hours_is_a_broken_time(tmp_path: Path) -> None:
    """It would be given a billion times otherwise."""
    path = film(tmp_path / "jump.mkv", [0, 1, 100_000], Fraction(1, 1000))
    assert kind(path) == ([0], "times")


def test_the_tick_of_the_films_is_exact() -> None:
    """The test of the drift tests nothing where times were rounded."""
    assert (1 / NTSC / TICK).denominator == 1
