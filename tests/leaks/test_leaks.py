"""The leakage guard: copies are found however encoded, strangers are not taken for copies, and the figures say so."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from drawn_actors import SIZE_PX, drawn_take
from media_files import write_clip, write_sound
from moodreel.bundle import load_bundle
from moodreel.cli import main as cli
from moodreel.corpora import UNKNOWN_SPEAKER, Sample, read_corpus
from moodreel.errors import BundleError
from moodreel.evaluation.evaluate import check_corpus
from moodreel.leaks import fingerprints
from moodreel.leaks.fingerprints import (
    Fingerprint,
    Track,
    describe_picture,
    describe_sound,
    measure_background_db,
    read_fingerprint,
    shrink_picture,
)  # fmt: skip
from moodreel.leaks.guard import find_leaks, format_leaks
from moodreel.leaks.matching import find_matches
from moodreel.leaks.training_clips import KnownClip, know_clips, read_training_clips, write_training_clips
from moodreel.storage.cache import Cache
from tiny_bundle import write_tiny_bundle

NOTHING = Track(np.zeros(0, np.uint32), np.zeros(0, bool))


def voice(seed, level=0.3):
    """A babbler: ten syllables a second of random pitch and formants, another for every seed."""
    rng = np.random.default_rng(seed)
    pitch, formant = rng.uniform(90, 250, 200), rng.uniform(300, 2800, (200, 3))

    def sound(time_s):
        syllable = (np.asarray(time_s) * 10).astype(int)
        total = sum(
            np.sin(2 * np.pi * pitch[syllable] * k * time_s)
            * sum(np.exp(-(((pitch[syllable] * k - formant[syllable, f]) / 150) ** 2)) for f in range(3))
            for k in range(2, 16)
        )
        return level * np.clip(total / 3, -1, 1)

    return sound


def late(sound, by_s):
    return lambda time_s: sound(np.asarray(time_s) + by_s)


def blobs(seed, brightness=1.0, late_s=0.0, rate=25):
    """Blobs that wander before a still wall; the wall is the same for every seed."""
    rng = np.random.default_rng(seed)
    speed, phase, wall = rng.uniform(1, 4, (5, 2)), rng.uniform(0, 6, (5, 2)), np.linspace(60, 120, 96)
    rows, columns = np.indices((64, 96))

    def draw(index):
        time_s = index / rate + late_s
        grey = np.tile(wall, (64, 1))
        for k in range(5):
            y, x = (
                32 + 24 * np.sin(speed[k, 0] * time_s + phase[k, 0]),
                48 + 36 * np.sin(speed[k, 1] * time_s + phase[k, 1]),
            )
            grey = grey + 90 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 120)
        return np.repeat(np.clip(brightness * grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)

    return draw


def read(path):
    return read_fingerprint(Sample(Path(path), "sad", "x", Path(path).stem, None, "c"))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return read(write_sound(tmp_path_factory.mktemp("s") / "a.wav", 3.0, sound=voice(1), audio_rate=44_100))


class TestSound:
    @pytest.mark.parametrize(
        "suffix, settings",
        [
            (".mp3", {"sound": voice(1, 0.03)}),
            (".ogg", {"sound": voice(1)}),
            (".wav", {"sound": voice(1), "audio_rate": 11_025}),
            (".wav", {"sound": late(voice(1), 0.733)}),
            (".m4a", {"sound": late(voice(1, 0.1), 0.411), "audio_rate": 22_050}),
        ],
        ids=["mp3 20 dB down", "opus", "11 kHz", "head cut off", "aac, trimmed, 10 dB down"],
    )
    def test_copies_are_found(self, original, tmp_path, suffix, settings):
        copy = read(write_sound(tmp_path / f"b{suffix}", 2.0, **settings))
        (match,) = find_matches([original, copy], ["train", "test"])
        assert match.kind == "sound" and match.wrong < 0.2 and match.overlap_s > 1

    def test_strangers_and_clips_of_one_side_are_not_matched(self, original, tmp_path):
        strangers = [read(write_sound(tmp_path / f"{seed}.wav", 3.0, sound=voice(seed))) for seed in (2, 3, 4)]
        assert find_matches([original, *strangers], list("abcd")) == ()
        assert find_matches([original, replace(original, sha256="other")], ["a", "a"]) == ()

    def test_silence_has_nothing_to_be_known_by(self, tmp_path):
        silence = [read(write_sound(tmp_path / f"{n}.wav", n, sound=np.zeros_like)) for n in (2, 3)]
        assert find_matches(silence, ["a", "b"]) == ()
        assert len(describe_sound(np.zeros(800, np.float32)).words) == 0

    def test_level_over_background_by_hand(self):
        quiet_then_loud = np.concatenate([np.full(8000, 0.001), np.full(8000, 0.1)]).astype(np.float32)
        assert measure_background_db(quiet_then_loud) == pytest.approx(40, abs=0.5)
        assert np.isnan(measure_background_db(np.zeros(0, np.float32)))

    def test_a_clip_is_read_once(self, tmp_path, monkeypatch):
        path, cache = write_sound(tmp_path / "a.wav", sound=voice(1)), Cache(tmp_path / "cache")
        sample = Sample(path, "sad", "x", "a", None, "c")
        first = read_fingerprint(sample, cache)
        monkeypatch.setattr(fingerprints, "open_clip", lambda *_: pytest.fail("read again"))
        np.testing.assert_array_equal(read_fingerprint(sample, cache).sound.words, first.sound.words)


class TestPicture:
    def test_a_copy_without_sound_is_found_and_another_take_is_not(self, tmp_path):
        plain = {"size": (96, 64), "audio_codec": None, "rate": 25}
        original = read(write_clip(tmp_path / "a.mp4", 4, frames=blobs(1), **plain))
        darker = blobs(1, 0.7, late_s=0.53, rate=15)
        copy = read(write_clip(tmp_path / "b.mp4", 3, frames=darker, **{**plain, "rate": 15}))
        other = read(write_clip(tmp_path / "c.mp4", 4, frames=blobs(2), **plain))
        (match,) = find_matches([original, copy, other], ["train", "test", "valid"])
        assert (match.first, match.second, match.kind) == (0, 1, "picture")

    def test_a_still_picture_has_nothing_to_be_known_by(self, tmp_path):
        still = [write_clip(tmp_path / f"{n}.mp4", n, frames=lambda _: blobs(1)(0), size=(96, 64), audio_codec=None)
                 for n in (2, 3)]  # fmt: skip
        assert find_matches([read(path) for path in still], ["a", "b"]) == ()


class TestMatching:
    @settings(max_examples=40)
    @given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.integers(60, 120), st.floats(0, 0.12))
    def test_a_part_with_wrong_bits_is_found_among_strangers(self, seed, start, length, share):
        rng = np.random.default_rng(seed)
        tracks = [rng.integers(0, 2**32, 200, dtype=np.uint32) for _ in range(12)]
        flips = (rng.random((length, 32)) < share) @ (1 << np.arange(32, dtype=np.uint64))
        tracks.append(tracks[5][start : start + length] ^ flips.astype(np.uint32))
        prints = [Fingerprint(str(i), Track(w, np.ones(len(w), bool)), NOTHING, 0.0) for i, w in enumerate(tracks)]
        matches = find_matches(prints, [str(i) for i in range(13)])
        assert [(m.first, m.second) for m in matches] == [(5, 12)]
        assert matches[0].wrong == pytest.approx(np.bitwise_count(flips.astype(np.uint64)).sum() / 32 / length)

    def test_the_same_bytes_are_one_match(self):
        words = Track(np.random.default_rng(0).integers(0, 2**32, 99, dtype=np.uint32), np.ones(99, bool))
        prints = [Fingerprint("same", words, NOTHING, 0.0)] * 2
        assert [m.kind for m in find_matches(prints, ["a", "b"])] == ["bytes"]
        assert find_matches([], []) == ()

    def test_words_that_all_share_are_held_against_few(self, monkeypatch):
        monkeypatch.setattr("moodreel.leaks.matching.MOST_NEIGHBOURS", 350)
        words = Track(np.full(300, 7, np.uint32), np.ones(300, bool))
        prints = [Fingerprint(str(i), words, NOTHING, 0.0) for i in range(10)]
        pairs = [(m.first, m.second) for m in find_matches(prints, [str(i) for i in range(10)])]
        assert pairs and all(second - first <= 2 for first, second in pairs)


def known(name, side, speaker="s", fingerprint=None):
    empty = Fingerprint(f"{name}{side}", NOTHING, NOTHING, 0.0)
    return KnownClip(name, "c", speaker, side, fingerprint or empty)


class TestReport:
    def test_a_shared_speaker_leaks_all_its_tested_clips(self):
        clips = [known("a", "tested", "ann"), known("b", "tested", "bob"), known("c", "train", "ann")]
        report = find_leaks(clips, "x")
        assert (report.shared_speakers, report.leaked) == (("ann",), ("a",))

    def test_the_tested_clip_stands_first(self):
        same = Fingerprint("same", NOTHING, NOTHING, 0.0)
        clips = [known("a", "train", "ann", same), known("b", "tested", "bob", same)]
        (leak,) = find_leaks(clips, "x").leaks
        assert (leak.clip, leak.twin, leak.kind) == ("b", "a", "bytes")
        assert str(leak) == "b (tested) is the same file as a (train)"

    def test_unread_clips_are_listed(self):
        assert find_leaks([KnownClip("a", "c", "s", "tested", None)], "x").unread == ("a",)


@pytest.fixture
def split_corpus(tmp_path):
    """Two training clips and three test clips, of which one is a training clip in MP3."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    rows = ["path,label,speaker,split"]
    for name, speaker, label, split, seed in (
        ("a.wav", "ann", "sad", "train", 1),
        ("b.wav", "bob", "surprise", "train", 2),
        ("c.mp3", "cem", "surprise", "test", 2),
        ("d.wav", "dag", "surprise", "test", 3),
        ("e.wav", "eva", "sad", "test", 4),
    ):
        write_sound(folder / name, 2.0, sound=voice(seed))
        rows.append(f"{name},{label},{speaker},{split}")
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["moodreel", *map(str, arguments)])
    monkeypatch.setattr("moodreel.evaluation.html._figures", lambda *_: "")
    with pytest.raises(SystemExit) as exit:
        cli.main()
    return exit.value.code or 0, *capsys.readouterr()


class TestCommands:
    def test_corpus_check(self, split_corpus, monkeypatch, capsys):
        status, out, _ = run(monkeypatch, capsys, "corpus", split_corpus, "--check")
        assert status == 1 and "b.wav (train) is the same sound" in out and "as c.mp3 (test)" in out
        assert "1 pairs (1 by sound), 0 speakers" in out
        status, out, _ = run(monkeypatch, capsys, "corpus", split_corpus, "--check", "--json")
        assert json.loads(out)["leaks"]["leaked"] == ["b.wav", "c.mp3"]

    def test_corpus_without_a_split_is_checked_by_speaker(self, tmp_path):
        for name, seed in (("ann_1", 1), ("bob_1", 2), ("bob_2", 2)):
            (tmp_path / "sad").mkdir(exist_ok=True)
            write_sound(tmp_path / "sad" / f"{name}.wav", 2.0, sound=voice(seed))
        shutil.copy(tmp_path / "sad" / "ann_1.wav", tmp_path / "sad" / "cem_1.wav")
        report = check_corpus(read_corpus(tmp_path, speaker_regex="(?P<speaker>[a-z]+)_"))
        assert [(leak.clip, leak.twin, leak.kind) for leak in report.leaks] == [("sad/ann_1", "sad/cem_1", "bytes")]

    def test_the_honest_figure_stands_first(self, tiny_bundle, split_corpus, tmp_path, monkeypatch, capsys):
        out = tmp_path / "out"
        status, printed, _ = run(monkeypatch, capsys, "evaluate", tiny_bundle, split_corpus, "--out", out)
        report = json.loads((out / "report.json").read_text())
        assert status == 0 and report["leaks"]["leaked"] == ["c.mp3"]
        assert (report["scores"]["n_clips"], report["scores_with_leaks"]["n_clips"]) == (2, 3)
        assert printed.index("UAR       ") < printed.index("with 1 leaked clips: UAR")
        page = (out / "report.html").read_text()
        assert page.index('class="headline">UAR') < page.index("UAR, leaks counted in")

    def test_clips_that_the_bundle_was_trained_on(self, split_corpus, tmp_path, monkeypatch, capsys):
        bundle = trained_bundle(tmp_path / "bundle", split_corpus, lambda sample: sample.clip_id in ("d.wav", "e.wav"))
        out = tmp_path / "out"
        _, printed, _ = run(monkeypatch, capsys, "evaluate", bundle, split_corpus, "--out", out)
        report = json.loads((out / "report.json").read_text())
        assert "2 clips that the bundle lists as its training data" in report["leaks"]["against"]
        assert report["leaks"]["shared_speakers"] == ["dag", "eva"]
        assert {(one["clip"], one["kind"]) for one in report["leaks"]["leaks"] if one["twin_side"] == "trained"} == {
            ("d.wav", "bytes"), ("e.wav", "bytes"),
        }  # fmt: skip
        assert not report["honest"] and "NO HONEST FIGURE" in printed, "the third leaks from the train split"

    def test_a_bundle_without_a_list_says_so(self, tiny_bundle, tmp_path, monkeypatch, capsys):
        (tmp_path / "sad").mkdir()
        write_sound(tmp_path / "sad" / "a.wav", sound=voice(1))
        _, printed, _ = run(monkeypatch, capsys, "evaluate", tiny_bundle, tmp_path, "--out", tmp_path / "out")
        assert "the bundle lists no training clips" in printed


def trained_bundle(folder, corpus, wanted):
    samples = [sample for sample in read_corpus(corpus).samples if wanted(sample)]
    prints = [read_fingerprint(sample) for sample in samples]
    entry = write_training_clips(know_clips(samples, prints, ["trained"] * len(samples)), folder)
    return write_tiny_bundle(folder, training_clips=entry)


class TestPartsOfOneFile:
    def read_parts(self, tmp_path, *times):
        path = write_sound(tmp_path / "film.wav", 9.0, sound=voice(7))
        samples = [Sample(path, "sad", "unknown", f"film#{start}-{end}", None, "c", start, end) for start, end in times]
        return samples, [read_fingerprint(sample) for sample in samples]

    def test_scenes_apart_are_named_and_are_no_copies(self, tmp_path):
        samples, prints = self.read_parts(tmp_path, (0.0, 3.0), (3.0, 6.0), (6.0, None))
        report = find_leaks(know_clips(samples, prints, ["train", "test", "test"]), "x")
        assert report.leaks == () and report.leaked == ()
        (line,) = report.same_files
        assert line.startswith("film#0.0-3.0 (train) and film#3.0-6.0 (test) are different parts of one file")
        assert f"one file: {line}" in format_leaks(report)

    def test_scenes_that_overlap_are_copies(self, tmp_path):
        samples, prints = self.read_parts(tmp_path, (0.0, 4.0), (3.0, 6.0))
        report = find_leaks(know_clips(samples, prints, ["train", "test"]), "x")
        assert [(leak.clip, leak.kind) for leak in report.leaks] == [("film#0.0-4.0", "bytes")]
        assert report.same_files == ()

    def test_a_part_is_found_again_in_another_form(self, tmp_path):
        _, prints = self.read_parts(tmp_path, (2.0, 6.0))
        copy = write_sound(tmp_path / "copy.mp3", 4.0, sound=late(voice(7), 2.0))
        (match,) = find_matches([prints[0], read(copy)], ["a", "b"])
        assert match.kind == "sound"

    def test_a_bundle_remembers_which_part_it_was_trained_on(self, tmp_path):
        samples, prints = self.read_parts(tmp_path, (2.0, 6.0), (6.0, None), (0.0, None))
        entry = write_training_clips(know_clips(samples, prints, ["train"] * 3), tmp_path)
        bundle = replace(load_bundle(write_tiny_bundle(tmp_path / "b")), path=tmp_path)
        bundle = replace(bundle, manifest={**bundle.manifest, "training_clips": entry})
        back = [clip.fingerprint for clip in read_training_clips(bundle)]
        assert [(one.start_s, one.end_s) for one in back] == [(2.0, 6.0), (6.0, None), (0.0, None)]


class TestTrainingClips:
    def test_come_back_as_they_were(self, split_corpus, tmp_path):
        bundle = trained_bundle(tmp_path / "b", split_corpus, lambda _: True)
        clips = read_training_clips(load_bundle(bundle))
        for sample, clip in zip(read_corpus(split_corpus).samples, clips, strict=True):
            expected = read_fingerprint(sample)
            assert (clip.name, clip.speaker, clip.side) == (sample.clip_id, sample.speaker, "trained")
            assert clip.fingerprint.sha256 == expected.sha256
            np.testing.assert_array_equal(clip.fingerprint.sound.words, expected.sound.words)
            np.testing.assert_array_equal(clip.fingerprint.sound.active, expected.sound.active)

    def test_no_list_is_none_and_an_empty_one_is_empty(self, tiny_bundle, tmp_path):
        assert read_training_clips(load_bundle(tiny_bundle)) is None
        bundle = write_tiny_bundle(tmp_path / "b", training_clips=write_training_clips([], tmp_path / "b"))
        assert read_training_clips(load_bundle(bundle)) == ()

    @pytest.mark.parametrize("damage", ["altered", "missing", "version"])
    def test_damage_is_one_clear_line(self, split_corpus, tmp_path, damage):
        bundle = trained_bundle(tmp_path / "b", split_corpus, lambda _: True)
        path = bundle / "training-clips.npz"
        if damage == "altered":
            path.write_bytes(path.read_bytes()[:-9])
        elif damage == "missing":
            path.unlink()
        else:
            manifest = json.loads((bundle / "bundle.json").read_text())
            manifest["training_clips"]["version"] = 99
            (bundle / "bundle.json").write_text(json.dumps(manifest))
        with pytest.raises(BundleError, match="training"):
            read_training_clips(load_bundle(bundle))


def read_take(actor, seed, seconds=3.5):
    draw, times_s = drawn_take(actor, seed), np.arange(0, seconds, 0.1)
    picture = describe_picture([(float(time_s), shrink_picture(draw(time_s))) for time_s in times_s])
    return Fingerprint(f"{actor}-{seed}", NOTHING, picture, 0.0)


class TestLookAlikes:
    def test_takes_of_drawn_actors_are_not_taken_for_one_recording(self):
        """Drawn pictures are alike by make: 26 of these 28,680 pairs have over 78 % of their bits in common."""
        prints = [read_take(actor, seed) for actor in range(4) for seed in range(60)]
        assert find_matches(prints, [str(index) for index in range(240)]) == ()

    def test_a_drawn_copy_is_found_among_its_look_alikes(self, tmp_path):
        draw = drawn_take(0, 0)
        copy = write_clip(tmp_path / "a.mp4", 3, frames=lambda i: draw(i / 15 + 0.4), size=SIZE_PX, rate=15,
                          audio_codec=None)  # fmt: skip
        matches = find_matches([*(read_take(0, seed) for seed in range(8)), read(copy)], ["train"] * 8 + ["test"])
        assert [(m.first, m.second, m.kind) for m in matches] == [(0, 8, "picture")]

    def find(self, *speakers, sound=NOTHING):
        """Two clips of one picture, each on a side of its own."""
        prints = [replace(read_take(0, 0), sha256=str(i), sound=sound) for i in range(2)]
        sides = ("tested", "train")
        return find_leaks([known(s, s, who, one) for s, who, one in zip(sides, speakers, prints, strict=True)], "x")

    def test_one_picture_under_two_speakers_is_a_suspicion_and_stays_in_the_figures(self):
        report = self.find("ann", "bob")
        assert (report.leaks, report.leaked) == ((), ())
        assert [(one.clip, one.kind) for one in report.suspected] == [("tested", "picture")]
        lines = format_leaks(report)
        assert "suspicion: tested (tested) is the same picture (100% alike) as train (train)" in lines
        assert "0 pairs (none)" in lines and "not left out" in lines

    def test_one_picture_of_an_unnamed_speaker_is_a_leak(self):
        report = self.find("ann", UNKNOWN_SPEAKER)
        assert report.leaked == ("tested",) and report.suspected == ()

    def test_one_picture_with_one_sound_is_a_leak_whoever_is_named(self):
        words = np.random.default_rng(0).integers(0, 2**32, 99, dtype=np.uint32)
        report = self.find("ann", "bob", sound=Track(words, np.ones(99, bool)))
        assert {one.kind for one in report.leaks} == {"sound", "picture"} and report.suspected == ()
