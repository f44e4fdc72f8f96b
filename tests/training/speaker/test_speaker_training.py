"""The speaker network is fitted, measured on people held out, and exported to answer as it did."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from conftest import chirp
from media_files import write_clip, write_wav
from moodreel import CorpusError, MoodreelError
from moodreel.bundle import load_bundle
from moodreel.inference import start_session
from moodreel.recognition.lip_reading import SpeakerReader
from moodreel.training.speaker.examples import N_SOUNDS, ExampleMaker
from moodreel.training.speaker.fit import fit_speaker
from moodreel.training.speaker.material import SLOT_SAMPLES, Footage, read_footage
from moodreel.training.speaker.network import SpeakerNetwork, read_origin
from moodreel.training.speaker.pretrain import export_speaker, read_others, split_people, write_bundle
from moodreel.training.speaker.recipe import SpeakerRecipe
from moodreel.training.speaker.scores import measure_speaker
from tiny_bundle import write_tiny_bundle

TOY = SpeakerRecipe(n_steps=2, n_batch=2, n_slots=16, photographed=0.5, most_sounds=3)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def make_footage(person, n_slots=40, is_drawn=False, seed=0):
    """Somebody whose mouth is as light as the sound is loud, silent at both ends."""
    rng = np.random.default_rng(seed)
    loud = np.where((np.arange(n_slots) > 8) & (np.arange(n_slots) < n_slots - 8), rng.uniform(0.3, 1, n_slots), 1e-4)
    sound = np.repeat(loud, SLOT_SAMPLES) * rng.standard_normal(n_slots * SLOT_SAMPLES) * 0.1
    lips = np.broadcast_to((loud * 200).astype(np.uint8)[:, None, None], (n_slots, 112, 112)).copy()
    return Footage(person, is_drawn, lips, sound.astype(np.float32))


def test_when_a_person_speaks_is_told_by_loudness():
    active = make_footage("a").active
    assert (active[10:30] == 1).all() and (active[:7] == 0).all() and (active[-7:] == 0).all()


def test_batches_hold_four_sounds_for_each_stretch_of_lips():
    footage = [make_footage("a"), make_footage("b", seed=1), make_footage("c", is_drawn=True)]
    batch = ExampleMaker(footage, [np.ones(16_000, np.float32)], TOY).make()
    assert batch.lips.shape == (2, 16, 112, 112) and batch.lips.min() >= 0 and batch.lips.max() <= 255
    assert batch.spectra.shape == (2 * N_SOUNDS, 64, 13) and batch.speaks.shape == (2 * N_SOUNDS, 16)
    assert torch.isfinite(batch.spectra).all() and set(batch.speaks[~torch.isnan(batch.speaks)].tolist()) <= {0.0, 1.0}


def test_a_person_alone_has_no_strangers_and_nothing_hangs():
    assert ExampleMaker([make_footage("a")], [np.ones(16_000, np.float32)], TOY).make().lips.shape[0] == 2


def test_people_held_out_are_learned_from_nowhere():
    footage = [make_footage(f"corpus-{name}") for name in ("a", "b", "c")]
    learned, kept = split_people(footage, ["b"])
    assert [one.person for one in learned] == ["corpus-a", "corpus-c"] and [one.person for one in kept] == ["corpus-b"]
    with pytest.raises(CorpusError, match="fewer than two people"):
        split_people(footage, ["a", "b"])


@pytest.fixture(scope="module")
def fitted():
    torch.manual_seed(0)
    maker = ExampleMaker([make_footage("a"), make_footage("b", seed=1)], [np.ones(16_000, np.float32)], TOY)
    return fit_speaker(SpeakerNetwork(), maker, TOY)


def test_a_network_is_fitted_exported_and_put_into_a_bundle(fitted, tmp_path):
    assert all(torch.isfinite(value).all() for value in fitted.state_dict().values())
    figures = measure_speaker(fitted, [make_footage("a"), make_footage("b", seed=1)])
    assert figures["n_clips"] == 2 and figures["n_people"] == 2 and 0 <= figures["auc"]["other"] <= 1
    assert measure_speaker(fitted, [make_footage("a")])["n_clips"] == 0
    bundle = write_tiny_bundle(tmp_path / "tiny")
    path = write_bundle(str(bundle), fitted, figures, {"toy": 2}, tmp_path / "out")
    assert json.loads(path.read_text())["networks"]["speaker"]["trained_on"] == {"toy": 2}
    reader = SpeakerReader.open(load_bundle(tmp_path / "out"), threads=1)
    assert (tmp_path / "out" / "speaker.onnx").stat().st_size < 3e6
    clip = make_footage("a")
    assert reader.read(np.stack([clip.lips] * 6), np.zeros((160, 13), np.float32)).shape == (6, 40)


def test_the_graph_answers_as_the_network(fitted, tmp_path):
    assert export_speaker(fitted, tmp_path / "s.onnx") < 0.01
    names = [one.name for one in start_session((tmp_path / "s.onnx").read_bytes(), 1).get_inputs()]
    assert names == ["lips", "spectra"]


@pytest.mark.parametrize("content", ["other", "broken"])
def test_a_foreign_origin_is_refused_in_one_line(tmp_path, content):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other")
    (tmp_path / "broken").write_bytes(b"\x80no weights")
    with pytest.raises(MoodreelError, match="not LR-ASD's weights") as caught:
        read_origin(tmp_path / content)
    assert "\n" not in str(caught.value)


def test_the_origins_names_and_shapes_fit(tmp_path):
    """Its weights have an axis for time in every convolution over pictures, and other names."""
    state = SpeakerNetwork().state_dict()
    theirs = {}
    for name, value in state.items():
        kind = name.split(".")
        if kind[0] in ("pictures", "sounds"):
            encoder = "visualEncoder" if kind[0] == "pictures" else "audioEncoder"
            layer = kind[2] if kind[3] == "0" else kind[2].replace("_", "_norm_")
            held = value
            if value.dim() == 4 and kind[0] == "pictures":
                held = value[:, :, None] if kind[2].startswith("s") else value[..., None]
            theirs[f"model.{encoder}.block{int(kind[1]) + 1}.{layer}.{kind[-1]}"] = held
        else:
            ours = ("gate.", "forth.", "back.", "gate_of_both.", "head.")
            names = ("model.fusion.", "model.detector.gru_forward.", "model.detector.gru_backward.",
                     "model.detector.attention.", "lossAV.FC.")  # fmt: skip
            prefix = next(one for one in ours if name.startswith(one))
            theirs[names[ours.index(prefix)] + name.removeprefix(prefix)] = value
    torch.save({**theirs, "lossV.FC.weight": torch.zeros(2, 128)}, tmp_path / "origin")
    read = read_origin(tmp_path / "origin")
    assert set(read) == set(state) and all(torch.equal(read[name], state[name]) for name in state)


def test_footage_is_read_from_a_corpus(tmp_path, portrait_frames):
    faces = [np.asarray(frame) for frame in portrait_frames]
    write_clip(tmp_path / "a.mp4", 2, size=(320, 240), frames=lambda index: faces[index % 40], sound=chirp)
    grey = np.full((240, 320, 3), 128, np.uint8)
    write_clip(tmp_path / "silent.mp4", 2, size=(320, 240), frames=lambda index: faces[index % 40], sound=np.zeros_like)
    write_clip(tmp_path / "nobody.mp4", 2, size=(320, 240), frames=lambda _: grey, sound=chirp)
    rows = "".join(f"{name}.mp4\thappy\t{name}\n" for name in ("a", "silent", "nobody"))
    (tmp_path / "labels.tsv").write_text("path\tlabel\tspeaker\n" + rows)
    (footage,) = read_footage(tmp_path, is_drawn=False)
    assert footage.person.endswith("-a") and len(footage.sound) == len(footage.lips) * SLOT_SAMPLES
    assert (footage.active == 1).any()


def test_other_sounds_leave_out_speech_and_silence(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("laugh", "talk"):
        write_wav(tmp_path / f"{name}.wav", rng.standard_normal((16_000, 1)).astype(np.float32) * 0.1)
    rows = "laugh.wav\tlaughter\tx\ntalk.wav\tspeech\tx\n"
    (tmp_path / "labels.tsv").write_text("path\tsound\tsource\n" + rows)
    assert len(read_others(tmp_path, TOY)) == 1
    (tmp_path / "labels.tsv").write_text("path\tsound\tsource\ntalk.wav\tspeech\tx\n")
    with pytest.raises(CorpusError, match="holds no sound that is no speech"):
        read_others(tmp_path, TOY)
