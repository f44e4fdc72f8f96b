"""Which files of a folder are clips: by suffix, by content, without covers, and what was left out is told."""

from pathlib import Path

import pytest

from media_files import write_clip, write_image, write_sound
from moodreel.errors import MediaError
from moodreel.media.find import COVERS, Finder, find_media, tell_skipped


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names_of(files, folder):
    return [str(file.relative_to(folder)) for file in files]


def test_unknown_suffixes_are_tried_by_content(tmp_path):
    write_clip(tmp_path / "disc.vob", format="vob", video_codec="mpeg2video", audio_codec="mp2", rate=25)
    write_clip(tmp_path / "tape", format="matroska")
    write_sound(tmp_path / "call.wav").rename(tmp_path / "call.rec")
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "readme").write_text("no clip")
    touch(tmp_path, "empty.xyz")
    finder = Finder()
    assert names_of(finder.find([tmp_path]), tmp_path) == ["call.rec", "disc.vob", "tape"]
    assert sorted(finder.skipped.values()) == [".bin", ".xyz", "without suffix"]


def test_covers_and_thumbnails_beside_clips_are_left_out_unless_asked_for(tmp_path):
    covers = ["Cover.jpg", "a-thumb.jpg", "a.mp4.png", "b.jpg", "folder.jpg"]
    touch(tmp_path, "a.mp4", "b.mp4", "c.jpg", *covers)
    finder = Finder()
    assert names_of(finder.find([tmp_path]), tmp_path) == ["a.mp4", "b.mp4", "c.jpg"]
    assert sorted(path.name for path in finder.skipped) == covers
    assert len(Finder(takes_covers=True).find([tmp_path])) == 8
    assert tmp_path / "folder.jpg" in find_media([tmp_path, tmp_path / "folder.jpg"]), "it was named itself"


def test_pictures_alone_are_clips_whatever_they_are_called(tmp_path):
    touch(tmp_path, "cover.jpg", "a-thumb.jpg")
    assert len(find_media([tmp_path])) == 2


def test_what_was_skipped_is_counted_by_kind(tmp_path):
    touch(tmp_path, "a.mp4", "a.jpg", *(f"{number}.srt" for number in range(3)), "x.TXT", "y.txt", ".hidden.srt")
    finder = Finder()
    finder.find([tmp_path])
    assert tell_skipped(finder.skipped) == (
        "skipped 6 files: 3 .srt, 2 .txt, 1 covers or thumbnails (--all reads them); --verbose lists them"
    )


def test_the_way_to_read_covers_stands_beside_them():
    """It stood behind the last kind, as if --all read notes too."""
    skipped = {Path("a.jpg"): COVERS, Path("b.jpg"): COVERS, Path("notes.txt"): ".txt"}
    assert tell_skipped(skipped).startswith("skipped 3 files: 2 covers or thumbnails (--all reads them), 1 .txt;")


def test_a_file_named_itself_is_not_told_as_skipped(tmp_path):
    touch(tmp_path, "a.mp4", "b.txt")
    finder = Finder()
    finder.find([tmp_path, tmp_path / "b.txt"])
    assert not finder.skipped


def test_a_picture_without_a_suffix_is_found(tmp_path):
    import numpy as np

    write_image(tmp_path / "a.png", np.zeros((32, 32, 3), np.uint8), codec="png", pix_fmt="rgb24").rename(
        tmp_path / "a"
    )
    assert find_media([tmp_path]) == [tmp_path / "a"]


def test_a_folder_of_other_files_alone_holds_no_media(tmp_path):
    (tmp_path / "noise.dat").write_bytes(b"noise" * 100)
    with pytest.raises(MediaError, match="folder without media"):
        find_media([tmp_path])
