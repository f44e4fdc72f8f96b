"""The sound network must learn on one side of a split only, and call a mixture by what is loud in it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from media_files import write_wav
from moodreel import CorpusError, OutputError
from moodreel.bundle import load_bundle
from moodreel.corpora.sound_clips import read_sound_clips
from moodreel.training.sounds.examples import Examples, Origin, assign_folds, make_examples
from moodreel.training.sounds.head import SoundHead, ask_head, export_head, fit_head, weigh
from moodreel.training.sounds.material import OWN_NAMES, SOUNDS, SoundRecording, read_others, read_speech
from moodreel.training.sounds.pretrain import pretrain_sounds
from moodreel.training.sounds.recipe import SoundRecipe
from moodreel.training.sounds.scenes import Heard, Scene, cut_clean, make_babble_scene, make_synthetic, vary
from moodreel.training.sounds.scores import choose_threshold, hold_out, tabulate
from moodreel.training.sounds.synthesis import SYNTHETIC
from moodreel.training.sounds.windows import UNSURE, WIDTH, read_scene
from moodreel.training.voice import augment
from moodreel.voice.sounds import SoundNetwork
from moodreel.voice.speech import RATE_HZ

TOY = SoundRecipe(most_speech=4, n_babble=2, n_made=1, n_folds=2, n_hidden=8, epochs=4, n_batch=64)
SPEECH, LAUGHTER, NOISE = (SOUNDS.index(name) for name in ("speech", "laughter", "noise"))


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def voice():
    return load_bundle("default").session("voice", 1)


def make_voice(pitch_hz, length_s=1.5, seed=0):
    times_s = np.arange(int(length_s * RATE_HZ)) / RATE_HZ
    tone = sum(np.sin(2 * np.pi * pitch_hz * k * times_s) / k for k in range(1, 15))
    hiss = 1e-3 * np.random.default_rng(seed).standard_normal(len(times_s))
    return (0.1 * tone * np.maximum(np.sin(4 * np.pi * times_s), 0) + hiss).astype(np.float32)


def hear(kind="speech", source="acted", person="acted-ann", sound=None, name=""):
    recording = SoundRecording(Path(f"{person}.wav"), kind, name, source, person)
    return Heard(recording, make_voice(150) if sound is None else sound)


def make_noise(length_s=2.0, seed=0):
    return augment.make_noise(int(length_s * RATE_HZ), np.random.default_rng(seed))


@pytest.fixture
def partners():
    return {
        "speech": [hear(person=f"acted-{n}", sound=make_voice(120 + 30 * n)) for n in range(4)],
        "laughter": [],
        "music": [],
        "noise": [hear("noise", "recorded", "recorded-rain", make_noise())],
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two corpora of speech and a collection of other sounds."""
    root = tmp_path_factory.mktemp("material")
    for number, corpus in enumerate(("acted", "spoken")):
        rows = ["path\tlabel\tspeaker"]
        for index in range(6):
            path = root / corpus / f"{index}.wav"
            path.parent.mkdir(exist_ok=True)
            write_wav(path, make_voice(120 + 15 * index + 60 * number, seed=index)[:, None])
            rows.append(f"{path.name}\t{('angry', 'fear', '')[index % 3]}\t{index // 2}")
        (root / corpus / "labels.tsv").write_text("\n".join(rows) + "\n")
    others = root / "others"
    others.mkdir()
    rows = ["path\tsound\tsource\tlicence"]
    for index, sound in enumerate(("laughter", "rain", "music", "baby_cry") * 2):
        samples = (
            augment.make_laughter(2 * RATE_HZ, np.random.default_rng(index)) if index % 2 else make_noise(seed=index)
        )
        write_wav(others / f"{index}.wav", samples[:, None])
        rows.append(f"{index}.wav\t{sound}\t{'here' if index < 4 else 'there'}\tCC BY 3.0")
    (others / "labels.tsv").write_text("\n".join(rows) + "\n")
    return root


def test_speech_is_spread_over_emotions_and_people(folders):
    chosen = read_speech(folders / "acted", 3)
    assert len(chosen) == 3 and len({(one.name, one.person) for one in chosen}) == 3
    assert {one.kind for one in chosen} == {"speech"} and {one.source for one in chosen} == {"acted"}
    assert read_speech(folders / "acted", 3) == chosen


def test_others_are_read_by_their_table(folders):
    read = read_others(folders / "others")
    assert [one.kind for one in read] == ["laughter", "noise", "music", "crying"] * 2
    assert read_sound_clips(folders / "others")[0].licence == "CC BY 3.0"


@pytest.mark.parametrize("row", ["a.wav\tquack\thome", "../a.wav\train\thome", "b.wav\train\thome", "\train\thome"])
def test_a_row_that_names_no_known_sound_or_file_is_refused(tmp_path, row):
    write_wav(tmp_path / "a.wav", make_noise()[:, None])
    (tmp_path / "labels.tsv").write_text(f"path\tsound\tsource\n{row}\n")
    with pytest.raises(CorpusError, match=r"labels\.tsv"):
        read_others(tmp_path)


def test_every_name_has_a_class():
    assert set(OWN_NAMES.values()) <= set(SOUNDS) and SOUNDS[0] == "speech"


@pytest.mark.parametrize("name", SYNTHETIC)
def test_made_sounds_are_loud_finite_and_by_chance(name):
    one, same, other = (make_synthetic(name, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.isfinite(one.sound).all() and 0 < np.abs(one.sound).max() <= 1
    assert np.array_equal(one.sound, same.sound) and not np.array_equal(one.sound[:8000], other.sound[:8000])


def test_a_recording_stays_what_it_is_over_backgrounds(partners):
    scenes = list(vary(hear(), partners, np.random.default_rng(0)))
    over = [scene for scene in scenes if scene.how.startswith("over")]
    assert {scene.how for scene in over} == {"over noise", "over music", "over laughter", "over babble"}
    assert all(scene.spans[0][2] == "speech" and "acted" in scene.sources for scene in over)
    assert all(len(scene.sound) <= 8 * RATE_HZ and np.isfinite(scene.sound).all() for scene in scenes)


def test_two_that_follow_each_other_are_told_apart(partners, voice):
    rain = hear("noise", "recorded", "recorded-rain", make_noise(3.0))
    follow = [one for one in vary(rain, partners, np.random.default_rng(2)) if one.how == "before or behind another"]
    for scene in follow:
        assert [kind for _, _, kind in scene.spans].count("noise") == 1
        assert scene.spans[0][1] <= scene.spans[1][0]


def test_a_window_is_called_by_what_is_loud_in_most_of_it(voice):
    sound = np.concatenate([make_voice(150, 2.0), make_noise(2.0)])
    scene = Scene(sound, ((0.0, 2.0, "speech"), (2.0, 4.0, "noise")), "both", None, frozenset())
    windows = read_scene(scene, voice, np.random.default_rng(0))
    assert windows.kinds.tolist() == [SPEECH, UNSURE, NOISE, NOISE] or windows.kinds.tolist()[::2] == [SPEECH, NOISE]
    assert windows.statistics.shape == (len(windows.kinds), WIDTH)


def test_silence_is_no_example(voice):
    scene = Scene(np.zeros(RATE_HZ, np.float32), ((0.0, 1.0, "noise"),), "silence", None, frozenset())
    assert not len(read_scene(scene, voice, np.random.default_rng(0)).kinds)


def test_babble_names_all_who_babble(partners):
    scene = make_babble_scene(partners["speech"], np.random.default_rng(0))
    assert scene.spans[0][2] == "babble" and scene.people and scene.people <= {f"acted-{n}" for n in range(4)}


def test_a_long_recording_is_cut_into_chunks():
    scenes = list(cut_clean(hear(sound=make_voice(150, 8.1))))
    assert [len(scene.sound) for scene in scenes] == [8 * RATE_HZ]


def made_up(n=200, seed=0):
    """Speech and laughter of two sources each, told apart by fifty statistics."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(n) % 2
    statistics = rng.standard_normal((n, WIDTH))
    statistics[:, :50] += 3 * kinds[:, None]
    recordings = [
        SoundRecording(Path(str(i)), SOUNDS[i % 2], "", f"source-{i // 2 % 2}", f"person-{i // 4 % 10}")
        for i in range(n)
    ]
    origins = [Origin("clean", i // 4 % 10 % 2, one, frozenset([one.source])) for i, one in enumerate(recordings)]
    return Examples(statistics.astype(np.float16), kinds.astype(np.int64), np.arange(n), origins)


def test_what_can_be_told_apart_is_and_measured_on_what_was_left_out():
    examples, recipe = made_up(), SoundRecipe(n_folds=2, epochs=20, n_batch=32)
    held_out = hold_out(examples, recipe)
    threshold = choose_threshold(examples, held_out, recipe)
    tables = tabulate(examples, held_out, threshold)
    for protocol in ("sources left out", "people left out"):
        assert tables[protocol]["speech kept"]["all"]["share"] >= 0.9
        assert tables[protocol]["others refused, by class"]["laughter"]["share"] >= 0.9
    assert set(tables["sources left out"]["speech kept"]) == {"all", "source-0", "source-1"}


def test_nothing_is_learned_from_what_is_left_out(monkeypatch):
    examples, seen = made_up(40), []

    def fit(_, learned, recipe):
        seen.append(learned)
        return SoundHead(torch.zeros(WIDTH), torch.ones(WIDTH), recipe).eval()

    monkeypatch.setattr("moodreel.training.sounds.scores.fit_head", fit)
    hold_out(examples, SoundRecipe(n_folds=2))
    *folds, first, second = seen
    for fold, learned in enumerate(folds):
        assert {examples.origins[row].fold for row in np.flatnonzero(learned)} == {1 - fold}
    for source, learned in (("source-0", first), ("source-1", second)):
        assert source not in {examples.origins[row].recording.source for row in np.flatnonzero(learned)}


def test_speech_has_its_share_of_the_weight():
    examples = made_up()
    rows = np.arange(150)
    weights = weigh(examples, rows, SoundRecipe(speech_share=0.4))
    assert weights[examples.kinds[rows] == SPEECH].sum() / weights.sum() == pytest.approx(0.4)


def test_people_stand_in_one_fold(folders):
    heard = [hear(person=f"acted-{n % 3}") for n in range(9)]
    folds = assign_folds(heard, TOY)
    assert set(folds) == {"acted-0", "acted-1", "acted-2"} and set(folds.values()) == {0, 1}


def test_what_is_shipped_answers_as_the_network_does(tmp_path):
    examples = made_up()
    head = fit_head(examples, np.ones(200, np.bool_), SoundRecipe(epochs=3, n_batch=32))
    export_head(head, tmp_path / "sounds.onnx")
    from moodreel.inference import open_session

    session = open_session((tmp_path / "sounds.onnx").read_bytes(), "sounds.onnx", 1)
    network = SoundNetwork(session, SOUNDS, 0.5, WIDTH)
    wide = np.concatenate([examples.statistics, np.full((200, WIDTH), 9)], axis=1).astype(np.float32)
    assert np.abs(network.read(wide) - ask_head(head, examples.statistics)).max() < 0.02


def test_the_command_adds_the_network_to_a_bundle(folders, tmp_path):
    speech = [folders / "acted", folders / "spoken"]
    written = pretrain_sounds("default", speech, folders / "others", tmp_path / "out", recipe=TOY)
    bundle = load_bundle(written.parent)
    network = SoundNetwork.open(bundle, 1)
    assert network is not None and network.classes == SOUNDS and network.width == WIDTH
    assert bundle.networks["sounds"]["trained_on"] == {"acted": 4, "spoken": 4, "here": 4, "there": 4}
    assert bundle.networks["voice"] == load_bundle("default").networks["voice"]
    tables = json.loads((written.parent / "sounds.json").read_text())
    assert set(tables["sources left out"]["others refused, by source"]) == {"all", "here", "there"}
    with pytest.raises(OutputError):
        pretrain_sounds("default", speech, folders / "others", tmp_path / "out", recipe=TOY)


def test_examples_are_the_same_again(folders, voice):
    heard = [hear(person=f"acted-{n}", sound=make_voice(120 + 30 * n)) for n in range(4)]
    heard += [hear("noise", "recorded", f"recorded-{n}", make_noise(seed=n)) for n in range(2)]
    one, other = (make_examples(heard, voice, TOY) for _ in range(2))
    assert np.array_equal(one.statistics, other.statistics) and one.origins == other.origins
