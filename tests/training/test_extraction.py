"""Features of a corpus through the cache: what is seen and what is heard are read anew apart."""

from dataclasses import replace

import numpy as np
import pytest

from media_files import silence, tone, write_clip
from moodreel.corpora import read_corpus
from moodreel.errors import OutputError
from moodreel.recognition.inputs import FrameSpec, InputSpec
from moodreel.storage.cache import Cache
from moodreel.training import extraction
from tiny_corpus import stand_in_functionals

SEEN = FrameSpec("whole", side_px=16, rate_hz=5)
BOTH = InputSpec(SEEN, functionals=True)


@pytest.fixture
def heard(monkeypatch):
    """How many sounds functionals were computed of."""
    calls = []

    def count(samples):
        calls.append(len(samples))
        return stand_in_functionals(samples)

    monkeypatch.setattr("moodreel.recognition.reading.extract_functionals", count)
    return calls


@pytest.fixture
def samples(tmp_path):
    folder = tmp_path / "corpus" / "happy"
    folder.mkdir(parents=True)
    write_clip(folder / "ann.mp4", 0.6, size=(32, 32), rate=10, sound=tone())
    write_clip(folder / "bob.mp4", 0.6, size=(32, 32), rate=10, audio_codec=None)
    return read_corpus(tmp_path / "corpus", speaker_regex="(?P<speaker>[a-z]+).mp4").samples


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def test_other_frames_do_not_compute_the_functionals_anew(samples, cache, heard):
    first = extraction.extract_corpus(samples, BOTH, cache)
    finer = extraction.extract_corpus(samples, replace(BOTH, frames=replace(SEEN, side_px=24)), cache)
    assert len(heard) == 1 and finer.n_extracted == 2
    assert finer.load(0).frames.shape == (3, 24, 24, 3)
    np.testing.assert_array_equal(finer.load(0).functionals, first.load(0).functionals)
    assert first.load(0).functionals.any()


def test_other_sound_does_not_read_the_frames_anew(samples, cache, heard, monkeypatch):
    first = extraction.extract_corpus(samples, BOTH, cache)
    monkeypatch.setattr(
        "moodreel.recognition.reading._frame_pictures", lambda *_: pytest.fail("frames were read again")
    )
    alone = extraction.extract_corpus(samples[:1], BOTH.picture, cache)
    assert alone.n_extracted == 0 and set(alone.keys[0]) == {"picture"}
    np.testing.assert_array_equal(alone.load(0).frames, first.load(0).frames)
    assert (alone.load(0).face_state, alone.load(0).voice_state) == ("ok", "no_audio_track")


def test_a_silent_film_is_no_clip_to_be_left_out_when_only_its_sound_is_missing(samples, cache, heard):
    extraction.extract_corpus(samples, BOTH.picture, cache)
    found = extraction.extract_corpus(samples, BOTH, cache)
    assert not found.unreadable and len(heard) == 1
    assert [found.load(row).voice_state for row in (0, 1)] == ["ok", "no_audio_track"]
    assert [len(found.load(row).frames) for row in (0, 1)] == [3, 3]


def test_sound_alone_is_not_kept_with_a_picture(tmp_path, cache, heard):
    folder = tmp_path / "corpus" / "sad"
    folder.mkdir(parents=True)
    write_clip(folder / "eva.mp4", 0.6, size=(32, 32), rate=10, sound=silence)
    samples = read_corpus(tmp_path / "corpus", speaker_regex="(?P<speaker>[a-z]+).mp4").samples
    found = extraction.extract_corpus(samples, BOTH.sound, cache)
    features = found.load(0)
    assert set(found.keys[0]) == {"sound"} and not features.has_face and features.voice_state == "silent"


def test_an_entry_that_vanished_is_named(samples, cache, heard):
    found = extraction.extract_corpus(samples, BOTH, cache)
    cache._path(found.keys[1]["sound"]).unlink()
    assert found.load(0).has_voice
    with pytest.raises(OutputError, match="vanished"):
        found.load(1)
    again = extraction.extract_corpus(samples, BOTH, cache)
    assert again.n_extracted == 1 and again.load(1).voice_state == "no_audio_track"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_clip_that_sets_off_anything_is_left_out_with_its_true_kind(samples, cache, heard, monkeypatch, workers):
    if workers == 1:
        monkeypatch.setattr("moodreel.recognition.reading.extract_functionals", lambda _: 1 // 0)
    else:  # what the processes import is not replaced: a missing openSMILE or the like would stop all, a clip does not
        samples[0].path.write_bytes(b"no media")
    found = extraction.extract_corpus(samples, BOTH, cache, workers=workers, allow_unreadable=True)
    (left_out,) = found.unreadable
    assert left_out.clip_id == samples[0].clip_id and "\n" not in left_out.reason
    assert ("ZeroDivisionError" in left_out.reason) == (workers == 1)


def test_functionals_that_are_not_finite_leave_a_clip_out(samples, cache, heard, monkeypatch):
    nothing = np.full(1582, np.nan, np.float32)
    monkeypatch.setattr("moodreel.recognition.reading.extract_functionals", lambda _: nothing)
    found = extraction.extract_corpus(samples, BOTH, cache, allow_unreadable=True)
    assert [one.clip_id for one in found.unreadable] == [samples[0].clip_id]


def test_each_part_of_a_file_is_read_and_kept_apart(tmp_path, cache, heard):
    write_clip(tmp_path / "film.mp4", 6, size=(32, 32), rate=10, sound=tone())
    rows = ["film.mp4,sad,0,2", "film.mp4,happy,2,3", "film.mp4,happy,,"]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,start_s,end_s", *rows]))
    samples = read_corpus(tmp_path / "list.csv").samples
    found = extraction.extract_corpus(samples, BOTH, cache)
    assert len({keys["sound"] for keys in found.keys}) == 3
    assert [len(found.load(row).frames) for row in range(3)] == [30, 10, 5]
    assert sorted(heard) == pytest.approx([16_000, 32_000, 6 * 16_000], rel=0.02)
    assert extraction.extract_corpus(samples, BOTH, cache).n_extracted == 0
