"""The eight sources: which files they take, in which order, and the keys they make."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from media.pictures import encoded, noise

from mirage.dataset.convertit import families
from mirage.dataset.convertit.decoding import pixels, seconds
from mirage.dataset.convertit.frame import Frame, Where
from mirage.errors import MediaError

from .films import film

JPEG = encoded(noise(16, 12), "JPEG")
PNG = encoded(noise(16, 12), "PNG")


def tree(folder: Path, *names: str) -> Path:
    """Pictures of these names, in an order that is not theirs."""
    for name in sorted(names, key=hash):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG)
    return folder


def frames(name: str, path: Path, images: Path | None = None) -> list[Frame]:
    return list(families()[name].frames(Where(path, images)))


def tails(found: list[Frame]) -> list[str]:
    return [frame.tail for frame in found if frame.tail]


def troubles(found: list[Frame]) -> list[tuple[str, str, str]]:
    """Place, kind and message of what stands for a picture that is not there."""
    told = []
    for frame in found:
        if not frame.tail:
            with pytest.raises(MediaError) as caught:
                frame.read()
            told.append((frame.place, caught.value.kind, caught.value.message))
    return told


def test_the_sources_have_the_short_names_of_mimic_it() -> None:
    """The keys of the published instructions begin with them."""
    shorts = {name: family.short for name, family in families().items()}
    assert shorts == {
        "2d.Llava": "LA",
        "change.SpotTheDifference": "SD",
        "change.CocoGeneralDifference": "CGD",
        "3d.SceneNavigation": "SN",
        "fpv.EGO4D": "E4D",
        "video.DenseCaptions": "DC",
        "video.TVCaptions": "TVC",
        "video.VisualStoryTelling": "VST",
    }


def test_llava_takes_what_the_json_names(tmp_path: Path) -> None:
    """In the order of the JSON, whatever stands at its keys, and nothing else of the folder."""
    root = tree(tmp_path / "train2017", "000000000009.jpg", "000000000025.jpg", "other.jpg")
    meta = tmp_path / "meta.json"
    meta.write_text(json.dumps({"000000000025": ["a", {"b": "}"}], "000000000009": "x"}))
    found = frames("2d.Llava", meta, root)
    assert tails(found) == ["000000000025", "000000000009"]
    assert found[0].read() == JPEG


def test_a_key_of_llava_leads_nowhere_else(tmp_path: Path) -> None:
    """A key that leads out of the folder, or to no file, is named; the others are there."""
    tree(tmp_path, "secret.jpg", "images/1.jpg")
    meta = tmp_path / "images" / "meta.json"
    meta.write_text('{"../secret": 1, "2": 1, "1": 1}')
    found = frames("2d.Llava", meta)
    assert tails(found) == ["1"]
    assert [(place, kind) for place, kind, _ in troubles(found)] == [
        ("../secret.jpg", "outside"),
        ("2.jpg", "missing"),
    ]


def test_a_torn_json_gives_what_stands_before(tmp_path: Path) -> None:
    """And the byte at which it ends."""
    tree(tmp_path, "1.jpg")
    (tmp_path / "meta.json").write_text('{"1": [], "2')
    found = frames("2d.Llava", tmp_path / "meta.json")
    assert tails(found) == ["1"]
    ((place, kind, message),) = troubles(found)
    assert (place, kind) == ("meta.json", "torn")
    assert "byte 12" in message


def test_differences_come_in_pairs(tmp_path: Path) -> None:
    """By their numbers, with five digits, whatever the kinds of image."""
    tree(tmp_path, "10.png", "10_2.jpg", "9.jpg", "9_2.png", "123456.jpg", "123456_2.jpg")
    found = frames("change.SpotTheDifference", tmp_path)
    assert [frame.place for frame in found[:2]] == ["9.jpg", "9_2.png"]
    assert tails(found) == [
        *("00009_1", "00009_2", "00010_1", "00010_2", "123456_1", "123456_2"),
    ]


def test_what_is_of_no_pair_is_named(tmp_path: Path) -> None:
    """One alone, two that would be the first of a pair: none of them is written."""
    tree(tmp_path, "1.jpg", "2_2.jpg", "3.jpg", "3.png", "3_2.jpg", "4.jpg", "4_2.jpg")
    found = frames("change.SpotTheDifference", tmp_path)
    assert tails(found) == ["00004_1", "00004_2"]
    told = {place: message for place, _, message in troubles(found)}
    assert told["1.jpg"] == "there is no 1_2.* beside it"
    assert told["2_2.jpg"] == "there is no 2.* beside it"
    for place in ("3.jpg", "3.png", "3_2.jpg"):
        assert told[place] == "not one pair: 3.jpg, 3.png, 3_2.jpg"


def test_general_differences_are_all_files_of_a_folder(tmp_path: Path) -> None:
    """By name, numbers as numbers; hidden files and folders are none."""
    tree(tmp_path, "img10.jpg", "img2.jpg", ".hidden.jpg", "folder/img1.jpg")
    assert tails(frames("change.CocoGeneralDifference", tmp_path)) == ["img2", "img10"]


def test_scenes_give_their_first_scan_in_colour(tmp_path: Path) -> None:
    """Neither depth nor a second scan."""
    tree(
        tmp_path,
        "scene0001_00/color/000000.jpg",
        "scene0000_00/color/000100.jpg",
        "scene0000_00/color/000000.jpg",
        "scene0000_00/depth/000000.png",
        "scene0000_01/color/000000.jpg",
        "scene0002_00/pose/000000.txt",
    )
    assert tails(frames("3d.SceneNavigation", tmp_path)) == [
        "scene0000_00_color_000000",
        "scene0000_00_color_000100",
        "scene0001_00_color_000000",
    ]


def test_clips_give_every_nth_frame(tmp_path: Path) -> None:
    """Of 40 frames every second from the second on; of three all; the show is named once."""
    names = [f"castle_frames/castle_s01e01_clip_00/{n:05}.jpg" for n in range(1, 41)]
    tree(tmp_path, *names, *(f"friends_frames/s01_clip_01/{n}.jpg" for n in (11, 2, 1)))
    (tmp_path / "notes").mkdir()
    found = tails(frames("video.TVCaptions", tmp_path))
    castle = [f"castle_s01e01_clip_00_{n:05}" for n in range(2, 41, 2)]
    assert found == [*castle, *(f"friends_s01_clip_01_{n}" for n in (1, 2, 11))]


def test_videos_give_a_frame_a_second(tmp_path: Path) -> None:
    """With eight digits, or with four of MP4s alone."""
    film(tmp_path / "walk.10.mp4", [0, 1, 2])
    film(tmp_path / "zoo.mkv", [0, 0.5], tick=Fraction(1, 1000))
    found = frames("fpv.EGO4D", tmp_path)
    assert tails(found) == ["walk_00000000", "walk_00000001", "walk_00000002", "zoo_00000000"]
    assert [frame.place for frame in found[:2]] == ["walk.10.mp4@0s", "walk.10.mp4@1s"]
    assert tails(frames("video.DenseCaptions", tmp_path)) == ["walk_0000", "walk_0001", "walk_0002"]


def test_of_two_videos_with_one_name_the_first_counts(tmp_path: Path) -> None:
    """Keys are made of what stands before the first dot: the second is named, with the first."""
    film(tmp_path / "a.b.mp4", [0, 1])
    film(tmp_path / "a.c.mp4", [0, 1, 2, 3])
    found = frames("video.DenseCaptions", tmp_path)
    assert tails(found) == ["a_0000", "a_0001"]
    assert troubles(found) == [("a.c.mp4", "duplicate", "its keys would be those of a.b.mp4")]


def test_a_broken_video_is_one_files_trouble(tmp_path: Path) -> None:
    """Those before and behind it are read."""
    film(tmp_path / "1.mp4", [0])
    (tmp_path / "2.mp4").write_bytes(b"\0" * 1000)
    film(tmp_path / "3.mp4", [0])
    found = frames("video.DenseCaptions", tmp_path)
    assert tails(found) == ["1_0000", "3_0000"]
    assert [(place, kind) for place, kind, _ in troubles(found)] == [("2.mp4", "broken")]


def test_without_pyav_a_video_is_a_mistake_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is read."""
    monkeypatch.setattr("mirage.dataset.convertit.films.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"mirage-engine\[video\]"):
        frames("fpv.EGO4D", tmp_path)


def story(tmp_path: Path, *images: object) -> Path:
    path = tmp_path / "train.story-in-sequence.json"
    path.write_text(json.dumps({"info": {"a": [1]}, "images": images, "annotations": [[{}]]}))
    return path


def test_stories_are_found_in_a_folder(tmp_path: Path) -> None:
    """By their ids, as JPEG or any other image; one that is not there is named."""
    images = tree(tmp_path / "images", "7.jpg", "8.png")
    path = story(tmp_path, {"id": "8"}, {"id": 7}, {"id": "9"}, {"no": "id"}, {"id": "../x"})
    found = frames("video.VisualStoryTelling", path, images)
    assert tails(found) == ["8", "7"]
    assert [kind for _, kind, _ in troubles(found)] == ["missing", "malformed", "missing"]


def test_stories_without_a_folder_ask_where_the_pictures_are(tmp_path: Path) -> None:
    """Nothing is fetched that nobody asked for."""
    with pytest.raises(ValueError, match="--fetch"):
        frames("video.VisualStoryTelling", story(tmp_path, {"id": "8", "url_o": "http://x/8.jpg"}))


@pytest.mark.parametrize("text", ["", "[]", "{}", "nothing"])
def test_a_json_that_is_none_of_vist_is_a_mistake(tmp_path: Path, text: str) -> None:
    """It cannot be read as such, and the message says which file."""
    path = tmp_path / "x.json"
    path.write_text(text)
    try:
        found = frames("video.VisualStoryTelling", path, tmp_path)
    except ValueError as error:
        assert "x.json" in str(error)
    else:
        assert [kind for _, kind, _ in troubles(found)] == ["torn"]


def test_a_frame_is_encoded_when_it_is_asked_for(tmp_path: Path) -> None:
    """Until then it is as the decoder left it."""
    path = film(tmp_path / "1.mp4", [0])
    (frame,) = frames("fpv.EGO4D", tmp_path)
    ((_, first),) = seconds(path)
    picture = frame.read()
    assert not isinstance(picture, bytes)
    assert picture.tobytes() == pixels(first).tobytes()
