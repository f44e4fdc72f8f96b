from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import onnx
import onnxruntime
import pytest

torch = pytest.importorskip("torch")

from moodreel.errors import CorpusError, MoodreelError, OutputError, RecipeError
from moodreel.labels import EMOTIONS, N_EMOTIONS
from moodreel.metrics import make_outcomes, score
from moodreel.storage import whole_files
from moodreel.training.backbones import whisper
from moodreel.training.backbones.whisper import WhisperEncoder
from moodreel.training.fitting import CHECKPOINT, load_fitted
from moodreel.training.voice import (
    augment,
    examples as voice_examples,
    fit as voice_fit,
    recordings as voice_recordings,
    scores as voice_scores,
    sources as voice_sources,
    stages as voice,
    takes as voice_takes,
)
from moodreel.training.voice.export import export_voice
from moodreel.training.voice.network import VoiceNet, collate, raise_examples
from moodreel.training.voice.recipe import Schedule, VoiceRecipe
from moodreel.training.voice.recordings import Recording
from moodreel.training.voice.takes import Take
from moodreel.voice.speech import RATE_HZ, extract_speech, measure_power, pool_windows
from saturating import run_saturating

ANGRY, SAD = EMOTIONS.index("angry"), EMOTIONS.index("sad")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def make_voice(pitch_hz, seconds=1.2, seed=0):
    """Syllables of a harmonic tone; voices above 250 Hz are also breathy."""
    times_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    tone = sum(np.sin(2 * np.pi * pitch_hz * k * times_s) / k for k in range(1, 15))
    noise = np.random.default_rng(seed).standard_normal(len(times_s))
    breath = noise if pitch_hz > 250 else 0.0
    syllables = np.maximum(np.sin(2 * np.pi * 2 * times_s), 0)
    return (0.1 * (tone + breath) * syllables + 1e-3 * noise).astype(np.float32)


def make_net(seed=0):
    torch.manual_seed(seed)
    net = VoiceNet(WhisperEncoder(n_blocks=2, width=16, n_heads=2, n_positions=400))
    torch.nn.init.normal_(net.classifier.weight)
    torch.nn.init.normal_(net.snr_estimator.weight, std=0.1)
    return net.eval()


def make_takes(n=16):
    """High voices are angry, low ones are sad; speakers alternate."""
    takes = []
    for index in range(n):
        label, pitch_hz = (ANGRY, 300 + 5 * index) if index % 2 else (SAD, 100 + 2 * index)
        power = measure_power(make_voice(pitch_hz, seed=index))
        recording = Recording(Path(f"{index}.wav"), "ravdess", f"speaker-{index % 4}", label)
        takes.append(Take(recording, (np.log10(np.maximum(power, 1e-10)).astype(np.float16),)))
    return takes


@pytest.fixture(scope="module")
def backgrounds():
    rng = np.random.default_rng(0)
    makers = {"noise": augment.make_noise, "music": augment.make_music, "laughter": augment.make_laughter}
    return voice_examples.Backgrounds({kind: [measure_power(make(RATE_HZ, rng))] for kind, make in makers.items()})


@pytest.fixture(autouse=True)
def few_backgrounds(monkeypatch, backgrounds):
    monkeypatch.setattr(voice_examples, "make_backgrounds", lambda seed: backgrounds)


def write_wav(path, sound):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono")
        frame = av.AudioFrame.from_ndarray((sound * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


# --- the network and its export


def test_padding_on_the_left_changes_nothing(backgrounds):
    maker = voice_examples.ExampleMaker(make_takes(6), backgrounds)
    rng = np.random.default_rng(0)
    examples = [maker.make(take, rng) for take in maker.takes]
    batch, net = collate(examples), make_net()
    assert len({example.features.shape[1] for example in examples}) > 1
    with torch.no_grad():
        logits, snr_db = net(batch.features, batch.pooling, batch.real)
        for row, example in enumerate(examples):
            alone, alone_db = net(torch.from_numpy(example.features)[None], torch.from_numpy(example.pooling)[None])
            rows = len(example.labels)
            assert (logits[row, :rows] - alone[0]).abs().max() < 1e-5
            assert (snr_db[row, :rows] - alone_db[0]).abs().max() < 1e-4


def run_here(path, outputs, inputs):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(outputs, inputs)


def run_without_vnni(path, outputs, inputs):
    return run_saturating(onnx.load(path), outputs, inputs)


@pytest.mark.parametrize("run", [run_here, run_without_vnni])
@pytest.mark.parametrize(("storage", "tolerance"), [("float32", 1e-4), ("int8", 0.5)])
@pytest.mark.parametrize("seconds", [0.05, 1.0, 8.0])
def test_exported_network_answers_as_in_training(tmp_path, storage, tolerance, seconds, run):
    net = make_net()
    export_voice(net, tmp_path / "voice.onnx", storage)
    speech = extract_speech(make_voice(200, seconds))
    pooling = pool_windows(speech.active, [(0, seconds), (0, seconds / 2)])
    outputs = ["logits", "snr_db", "statistics"]
    inputs = {"mel": speech.mel[None], "pooling": pooling.weights}
    logits, snr_db, statistics = run(tmp_path / "voice.onnx", outputs, inputs)
    given = torch.from_numpy(speech.mel)[None], torch.from_numpy(pooling.weights)[None]
    with torch.no_grad():
        expected, expected_db = net(*given)
        expected_statistics = net.pool(*given)[0].numpy()
    assert np.abs(statistics - expected_statistics).max() < tolerance * max(1.0, np.abs(expected_statistics).max())
    assert logits.shape == (2, N_EMOTIONS)
    assert snr_db.shape == (2,)
    assert np.abs(logits - expected[0].numpy()).max() < tolerance * max(1.0, float(expected.abs().max()) / 10)
    assert np.abs(snr_db - expected_db[0].numpy()).max() < 20 * tolerance


def test_int8_is_a_quarter_of_float32(tmp_path):
    net = VoiceNet(WhisperEncoder(n_blocks=1, width=64, n_heads=2))
    sizes = []
    for storage in ("float32", "int8"):
        export_voice(net, tmp_path / storage, storage)
        sizes.append((tmp_path / storage).stat().st_size)
    assert sizes[1] < 0.4 * sizes[0]


def test_ratio_stays_in_its_range():
    net = make_net()
    torch.nn.init.constant_(net.snr_estimator.bias, 100.0)
    with torch.no_grad():
        _, snr_db = net(torch.zeros(1, 80, 20), torch.full((1, 1, 10), 0.1))
    assert snr_db.max() == voice_examples.SNR_RANGE_DB[1]


# --- training


def test_fitting_learns_and_is_deterministic(backgrounds):
    takes = make_takes()
    schedule = Schedule(epochs=8, n_batch=4, encoder_rate=2e-3, head_rate=1e-2, average=0.8)
    nets = []
    for _ in range(2):
        torch.manual_seed(0)
        net = VoiceNet(WhisperEncoder(n_blocks=2, width=16, n_heads=2, n_positions=400))
        voice_fit.fit_voice(
            net, voice_sources.FreshExamples(voice_examples.ExampleMaker(takes, backgrounds)), schedule, seed=3
        )
        nets.append(net)
    for one, other in zip(nets[0].state_dict().values(), nets[1].state_dict().values(), strict=True):
        assert torch.equal(one, other)
    for pitch_hz, label in ((340, ANGRY), (120, SAD)):
        speech = extract_speech(make_voice(pitch_hz, seed=99))
        pooling = pool_windows(speech.active, [(0, 9)])
        with torch.no_grad():
            logits, _ = nets[0](torch.from_numpy(speech.mel)[None], torch.from_numpy(pooling.weights)[None])
        assert int(logits[0, 0].argmax()) == label


def test_what_a_corpus_cannot_name_is_not_unlearned(backgrounds):
    takes = [replace(take, recording=replace(take.recording, corpus="nemo")) for take in make_takes(4)]
    maker = voice_examples.ExampleMaker(takes, backgrounds)
    batch = collate([maker.make(take, np.random.default_rng(0)) for take in takes])
    net = make_net()
    voice_fit.measure_loss(net, batch, torch.ones(N_EMOTIONS), Schedule(epochs=1)).backward()
    disgust = EMOTIONS.index("disgust")
    assert not net.classifier.weight.grad[disgust].any()
    assert net.classifier.weight.grad[ANGRY].any()


def test_a_batch_in_which_no_speech_is_heard_teaches_nothing(backgrounds):
    takes = make_takes(4)
    example = voice_examples.ExampleMaker(takes, backgrounds).make(takes[0], np.random.default_rng(0))
    batch = collate([replace(example, labels=np.full_like(example.labels, -1))])
    loss = voice_fit.measure_loss(make_net(), batch, torch.ones(N_EMOTIONS), Schedule(epochs=1))
    assert torch.isfinite(loss)


def test_starting_from_kept_tokens_changes_nothing(tmp_path, backgrounds):
    maker, net = voice_examples.ExampleMaker(make_takes(6), backgrounds), make_net()
    rng = np.random.default_rng(0)
    examples = [maker.make(take, rng) for take in maker.takes]
    voice_examples.save_examples(raise_examples(net, examples, 1), tmp_path / "examples.npz")
    raised = voice_examples.load_examples(tmp_path / "examples.npz")
    one, other = collate(examples), collate(raised)
    assert torch.equal(one.pooling, other.pooling)
    assert torch.equal(one.labels, other.labels)
    with torch.no_grad():
        logits, _ = net(one.features, one.pooling, one.real)
        again, _ = net(other.features, other.pooling, other.real, first_block=1)
    assert (logits - again).abs().max() < 0.02 * logits.abs().max()


def test_lower_blocks_stay_as_they_are(backgrounds):
    maker, net = voice_examples.ExampleMaker(make_takes(6), backgrounds), make_net()
    examples = raise_examples(net, [maker.make(take, np.random.default_rng(0)) for take in maker.takes], 1)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    voice_fit.fit_voice(
        net, voice_sources.KeptExamples(examples, 6), Schedule(epochs=1, n_batch=4, first_block=1), seed=0
    )
    changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith(("encoder.conv", "encoder.embed", "encoder.layers.0.")) for name in changed)
    assert "encoder.layers.1.fc1.weight" in changed


def kept_examples(backgrounds):
    maker, rng = voice_examples.ExampleMaker(make_takes(8), backgrounds), np.random.default_rng(0)
    return voice_sources.KeptExamples(raise_examples(make_net(), [maker.make(t, rng) for t in maker.takes], 1), 1)


class StopsAt(voice_fit.VoiceModule):
    """Dies in a step, as a process that is killed does: nothing of that epoch is kept."""

    step = 3

    def measure_loss(self, batch):
        if self.global_step == self.step:
            raise KeyError("killed")
        return super().measure_loss(batch)


def test_a_fit_killed_within_an_epoch_ends_as_an_undisturbed_one(tmp_path, monkeypatch, backgrounds):
    source, schedule = kept_examples(backgrounds), Schedule(epochs=3, n_batch=4, first_block=1)
    whole, killed, again = make_net(), make_net(), make_net()
    voice_fit.fit_voice(whole, source, schedule, 1, tmp_path / "whole")
    with monkeypatch.context() as patched, pytest.raises(KeyError, match="killed"):
        patched.setattr(voice_fit, "VoiceModule", StopsAt)
        voice_fit.fit_voice(killed, source, schedule, 1, tmp_path / "killed")
    assert not load_fitted(again, tmp_path / "killed", schedule.epochs)
    voice_fit.fit_voice(again, source, schedule, 1, tmp_path / "killed")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_a_fit_that_came_to_its_end_is_loaded_and_not_run_again(tmp_path, monkeypatch, backgrounds):
    source, schedule = kept_examples(backgrounds), Schedule(epochs=1, n_batch=4, first_block=1)
    net, loaded, again = make_net(), make_net(5), make_net()
    voice_fit.fit_voice(net, source, schedule, 1, tmp_path)
    assert load_fitted(loaded, tmp_path, schedule.epochs)
    monkeypatch.setattr(StopsAt, "step", 0)
    monkeypatch.setattr(voice_fit, "VoiceModule", StopsAt)
    voice_fit.fit_voice(again, source, schedule, 1, tmp_path)
    for name, value in net.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
        assert torch.equal(value, again.state_dict()[name]), name


@pytest.mark.parametrize("damage", [lambda whole: whole[: len(whole) // 2], lambda whole: b"", lambda whole: b"no zip"])
def test_half_a_checkpoint_is_refused_with_the_way_out(tmp_path, backgrounds, damage):
    source, schedule = kept_examples(backgrounds), Schedule(epochs=1, n_batch=4, first_block=1)
    voice_fit.fit_voice(make_net(), source, schedule, 1, tmp_path)
    path = tmp_path / CHECKPOINT
    path.write_bytes(damage(path.read_bytes()))
    for run in (
        lambda: load_fitted(make_net(), tmp_path, 1),
        lambda: voice_fit.fit_voice(make_net(), source, schedule, 1, tmp_path),
    ):
        with pytest.raises(OutputError, match=r"not a whole checkpoint .*delete it to train that part anew"):
            run()


class Hostile:
    def __reduce__(self):
        return (print, ("code of the checkpoint ran",))


def test_a_checkpoint_that_names_code_is_refused_and_does_not_run(tmp_path, capsys):
    torch.save({"state_dict": {"network.x": Hostile()}}, tmp_path / CHECKPOINT)
    with pytest.raises(OutputError, match="not a whole checkpoint"):
        load_fitted(make_net(), tmp_path, 1)
    assert "ran" not in capsys.readouterr().out


def test_the_checkpoint_of_another_network_is_refused(tmp_path, backgrounds):
    source, schedule = kept_examples(backgrounds), Schedule(epochs=1, n_batch=4, first_block=1)
    voice_fit.fit_voice(make_net(), source, schedule, 1, tmp_path)
    other = VoiceNet(WhisperEncoder(n_blocks=1, width=16, n_heads=2, n_positions=400))
    with pytest.raises(OutputError, match="another network"):
        load_fitted(other, tmp_path, 1)


def test_a_loss_that_is_not_finite_stops_the_fit_at_its_step(tmp_path, backgrounds):
    source = kept_examples(backgrounds)
    wild = Schedule(epochs=3, n_batch=4, encoder_rate=1e30, head_rate=1e30, first_block=1)
    with pytest.raises(MoodreelError, match=r"voice network, step \d+: the loss is NaN or infinite; lower .*rate"):
        voice_fit.fit_voice(make_net(), source, wild, 1, tmp_path)


# --- examples


def test_the_ratio_of_an_example_is_what_was_mixed():
    speech = measure_power(make_voice(200))
    background = speech / 100
    pooling = pool_windows(np.ones(speech.shape[1] // 2, dtype=bool), [(0, 9)])
    assert voice_examples.measure_snr(pooling.weights, speech, background) == pytest.approx(20, abs=0.01)
    assert voice_examples.measure_snr(pooling.weights, speech, 0 * background) == voice_examples.SNR_RANGE_DB[1]
    assert voice_examples.measure_snr(pooling.weights, speech * 1e-5, speech) == voice_examples.SNR_RANGE_DB[0]


def test_examples_hold_what_their_contract_says(backgrounds):
    maker = voice_examples.ExampleMaker(make_takes(8), backgrounds)
    rng = np.random.default_rng(1)
    examples = [maker.make(take, rng) for take in list(maker.takes) * 5]
    assert {len(example.labels) for example in examples} == {2, 4}
    for example in examples:
        assert example.features.shape == (80, 2 * example.pooling.shape[1])
        assert example.features.dtype == example.pooling.dtype == np.float32
        assert np.allclose(example.pooling.sum(axis=1), 1, atol=1e-5)
        assert set(example.labels) <= {-1, ANGRY, SAD}
        assert np.isfinite(example.features).all()
    assert any((example.snr_db == voice_examples.SNR_RANGE_DB[1]).all() for example in examples)
    assert any((example.snr_db < 20).all() for example in examples)


# --- augmentation


@pytest.mark.parametrize("make", [augment.make_noise, augment.make_music, augment.make_laughter])
def test_backgrounds_are_sound_at_one_level(make):
    one, again = (make(RATE_HZ, np.random.default_rng(5)) for _ in range(2))
    assert (one == again).all()
    assert one.shape == (RATE_HZ,)
    assert np.sqrt((one**2).mean()) == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize("speed", [0.8, 1.25])
def test_speed_moves_length_and_pitch(speed):
    sound = np.sin(2 * np.pi * 400 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    faster = augment.change_speed(sound, speed)
    assert len(faster) == pytest.approx(RATE_HZ / speed, abs=100)
    peak_hz = np.abs(np.fft.rfft(faster)).argmax() * RATE_HZ / len(faster)
    assert peak_hz == pytest.approx(400 * speed, abs=5)


def test_band_limit_leaves_nothing_outside():
    limited = augment.limit_band(make_voice(200), 250, 3500)
    spectrum = np.abs(np.fft.rfft(limited))
    frequencies_hz = np.fft.rfftfreq(len(limited), 1 / RATE_HZ)
    assert spectrum[frequencies_hz > 3600].max() < 1e-3 * spectrum.max()


def test_a_deep_codec_changes_little():
    sound = make_voice(200)
    changed = augment.drop_quiet_bins(sound, 200.0)
    assert np.abs(changed - sound).max() < 1e-4


@pytest.mark.parametrize("snr_db", [0.0, 10.0])
def test_mixing_keeps_the_ratio(snr_db):
    sound = make_voice(200)
    background = augment.make_noise(len(sound), np.random.default_rng(0))
    added = augment.mix_sound(sound, background, snr_db) - sound
    level_db = 20 * np.log10(np.sqrt((added**2).mean()))
    assert extract_speech(sound).level_dbfs - level_db == pytest.approx(snr_db, abs=0.1)


def test_babble_needs_voices():
    with pytest.raises(ValueError, match="voice"):
        augment.make_babble([], 100, np.random.default_rng(0))


# --- corpora


def write_corpora(root):
    codes = {"01": "neutral", "02": "calm", "05": "angry", "04": "sad"}
    for actor in range(1, 9):
        for place, code in enumerate(codes):
            name = f"03-01-{code}-01-01-01-{actor:02d}.wav"
            write_wav(root / "ravdess" / f"Actor_{actor:02d}" / name, make_voice(120 + 40 * place, seed=actor))
    rows = ["file_id\temotion\tspeaker_id"]
    for index, emotion in enumerate(["anger", "sadness", "neutral", "surprised"]):
        write_wav(root / "nemo" / "audio" / f"AA{index}.wav", make_voice(120 + 40 * index, seed=index))
        rows.append(f"AA{index}.wav\t{emotion}\t AA{index % 2}")
    (root / "nemo" / "data.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def test_corpora_are_read_with_their_speakers(tmp_path):
    write_corpora(tmp_path)
    recordings = voice_recordings.read_recordings(tmp_path / "ravdess", "ravdess")
    assert len(recordings) == 32
    assert {EMOTIONS[r.label] for r in recordings} == {"neutral", "angry", "sad"}
    folds = voice_recordings.split_folds(recordings)
    assert folds == [[f"ravdess-{a:02d}" for a in range(1, 5)], [f"ravdess-{a:02d}" for a in range(5, 9)]]
    nemo = voice_recordings.read_recordings(tmp_path / "nemo", "nemo")
    assert [r.speaker for r in nemo] == ["nemo-AA0", "nemo-AA1"] * 2
    assert EMOTIONS[nemo[3].label] == "surprise"


def test_missing_corpora_are_named(tmp_path):
    with pytest.raises(CorpusError, match="ravdess"):
        voice_recordings.read_recordings(tmp_path, "ravdess")
    with pytest.raises(CorpusError, match=r"data\.tsv"):
        voice_recordings.read_recordings(tmp_path, "nemo")
    (tmp_path / "broken.wav").write_bytes(b"nothing")
    with pytest.raises(CorpusError, match=r"broken\.wav"):
        voice_recordings.read_recording(tmp_path / "broken.wav")


def test_takes_are_kept_and_belong_to_their_recordings(tmp_path):
    write_corpora(tmp_path)
    recordings = voice_recordings.read_recordings(tmp_path / "ravdess", "ravdess")[:4]
    takes = [voice_takes.make_take(recording, 1, seed=0) for recording in recordings]
    assert all(len(take.copies) == 2 for take in takes)
    voice_takes.save_takes(takes, tmp_path / "takes.npz")
    loaded = voice_takes.load_takes(recordings, tmp_path / "takes.npz")
    assert all((a.copies[1] == b.copies[1]).all() for a, b in zip(takes, loaded, strict=True))
    with pytest.raises(CorpusError, match="other recordings"):
        voice_takes.load_takes(recordings[:3], tmp_path / "takes.npz")


TINY_RECIPE = VoiceRecipe(adapt=Schedule(epochs=1), tune=Schedule(epochs=1, first_block=1))


@pytest.fixture
def tiny_run(tmp_path, monkeypatch):
    """What trains a tiny voice network on tiny corpora into a folder: all stages, or some."""
    write_corpora(tmp_path)
    monkeypatch.setattr(voice.VoiceRun, "_new_net", lambda self: make_net())
    monkeypatch.setattr(voice_scores, "N_BABBLE", 2)

    def run(out, stages=None, recipe=TINY_RECIPE):
        voice.pretrain_voice(tmp_path / "ravdess", tmp_path / "nemo", out, stages, recipe)

    return run


def test_the_whole_run_writes_network_and_scores(tmp_path, tiny_run):
    out = tmp_path / "out"
    tiny_run(out)
    scores = json.loads((out / "scores.json").read_text())
    assert scores["folds"]["clean"]["n"] == 32
    assert len(scores["folds"]["clean by fold"]) == 2
    assert scores["nemo_to_ravdess"]["n"] == 32
    heldout = np.load(out / "heldout.npz")
    assert heldout["logits"].shape == (len(voice_scores.CONDITIONS), 32, N_EMOTIONS)
    assert heldout["fold"].tolist() == [0] * 16 + [1] * 16
    assert voice_scores.RecordingLogits.load(out / "heldout.npz").label.shape == (32,)
    assert (out / "voice.onnx").stat().st_size < 1e6
    with pytest.raises(ValueError, match="unknown stage"):
        tiny_run(out, ["nothing"])


def test_a_run_killed_while_it_writes_leaves_no_half_file_and_goes_on(tmp_path, tiny_run, monkeypatch):
    """Half a file counted as finished, and what was made of it would have been shipped."""
    out, done = tmp_path / "out", ["takes", "adapt"]
    tiny_run(out, done)
    finished = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}

    def stop_within(file, **_):
        file.write(b"half an archive")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(whole_files.np, "savez", stop_within)
        tiny_run(out, ["statistics"])
    assert set(finished) == {path for path in out.rglob("*") if path.is_file()}
    tiny_run(out, [*done, "statistics"])
    assert np.load(out / "statistics-0.npz")["values"].shape[0] == 64
    kept = {path: changed_ns for path, changed_ns in finished.items() if path.suffix in {".npz", ".ckpt"}}
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


@pytest.mark.parametrize("name", ["takes-ravdess-0.npz", "adapted.npz", "voice.onnx"])
def test_files_of_an_unknown_run_do_not_count_as_finished(tmp_path, tiny_run, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(b"half of it")
    with pytest.raises(OutputError, match=rf"holds {name} but no recipe\.yaml: an unknown run; name another folder"):
        tiny_run(tmp_path / "out")


def test_a_run_of_another_recipe_seed_or_corpus_is_refused(tmp_path, tiny_run):
    out = tmp_path / "out"
    tiny_run(out, ["takes"])
    for other in (replace(TINY_RECIPE, seed=1), replace(TINY_RECIPE, n_variants=2)):
        with pytest.raises(RecipeError, match=r"another recipe.*name another folder"):
            tiny_run(out, ["takes"], other)
    write_wav(next((tmp_path / "ravdess").rglob("*.wav")), make_voice(500))
    with pytest.raises(OutputError, match=r"other data .*ravdess.*name another folder"):
        tiny_run(out, ["takes"])


def test_the_second_half_of_a_stage_is_not_forgotten(tmp_path, tiny_run):
    """The adapted network was written, then the run was stopped: what it makes of RAVDESS was missing for good."""
    out = tmp_path / "out"
    tiny_run(out, ["takes", "adapt"])
    (out / "nemo-to-ravdess.npz").unlink()
    tiny_run(out, ["adapt"])
    assert (out / "nemo-to-ravdess.npz").is_file()


# --- scores


def test_score_counts_recall_by_emotion():
    logits = np.zeros((1, 4, N_EMOTIONS), dtype=np.float32)
    logits[0, [0, 1, 2, 3], [ANGRY, ANGRY, SAD, ANGRY]] = 1
    label = np.array([ANGRY, ANGRY, SAD, SAD])
    speaker, names = np.array(["a", "b", "a", "b"]), np.array(["0", "1", "2", "3"])
    found = voice_scores.RecordingLogits(
        np.array(["clean"]), logits, np.zeros((1, 4), np.float32), label, speaker, names
    )
    result = voice_scores.score_condition(found, 0, np.ones(N_EMOTIONS, dtype=bool))
    assert result["uar"] == 0.75
    assert result["war"] == 0.75
    assert result["recall"]["sad"] == 0.5
    assert result["uar_95"] == [0.5, 1.0]


def test_intervals_are_those_of_all_other_figures_not_plain_percentiles():
    """Of few speakers plain percentiles are too narrow: the interval must be the one that `metrics` gives."""
    rng = np.random.default_rng(0)
    label, speaker = np.tile(np.arange(7), 40), np.repeat([f"s{i}" for i in range(5)], 56)
    skill = np.repeat([0.0, 0.5, 1.0, 2.0, 3.0], 56)[:, None]
    logits = (rng.normal(size=(280, 7)) + skill * np.eye(7)[label])[None].astype(np.float32)
    names = np.arange(280).astype(str)
    found = voice_scores.RecordingLogits(
        np.array(["clean"]), logits, np.zeros((1, 280), np.float32), label, speaker, names
    )
    result = voice_scores.score_condition(found, 0, np.ones(N_EMOTIONS, dtype=bool))
    probabilities = np.exp(logits[0]) / np.exp(logits[0]).sum(1, keepdims=True)
    expected = score(make_outcomes(names.tolist(), speaker.tolist(), [EMOTIONS[i] for i in label], probabilities)).uar
    assert result["uar_95"] == pytest.approx([expected.low, expected.high], abs=1e-4)
    assert "expanded percentile" in result["intervals"]


def test_emotions_never_taught_are_ruled_out():
    logits = np.ones((1, 2, N_EMOTIONS), dtype=np.float32)
    label = np.array([EMOTIONS.index("disgust"), SAD])
    names = np.array(["0", "1"])
    found = voice_scores.RecordingLogits(np.array(["clean"]), logits, np.zeros((1, 2), np.float32), label, names, names)
    left = found.among(voice_recordings.list_known("nemo"))
    assert left.label.tolist() == [SAD]
    assert left.logits[0, 0, EMOTIONS.index("disgust")] == voice_scores.RULED_OUT
    assert left.logits[0, 0, SAD] == 1


# --- the origin's weights


def test_a_foreign_file_is_refused(tmp_path):
    (tmp_path / "other.onnx").write_bytes(b"something else")
    with pytest.raises(MoodreelError, match="sha256"):
        whisper.load_whisper(tmp_path / "other.onnx")


def test_a_failed_download_is_named(tmp_path, monkeypatch):
    class Failed:
        returncode, stderr = 1, "no network"

    monkeypatch.setattr(whisper.subprocess, "run", lambda *args, **kwargs: Failed)
    with pytest.raises(MoodreelError, match="no network"):
        whisper.fetch_whisper(tmp_path)


def test_quantised_weights_come_back_under_their_names(tmp_path):
    """A graph of the origin's form: an anonymous product, named by its bias or, for the key, by the norm before it."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = {name: rng.standard_normal((4, 4)).astype(np.float32) for name in ("q", "k")}
    prefix = "inner.encoder.layers.0.self_attn"
    constants, nodes = [], []
    for name in (f"{prefix}_layer_norm.weight", f"{prefix}_layer_norm.bias", f"{prefix}.q_proj.bias"):
        constants.append(numpy_helper.from_array(np.ones(4, np.float32), name))
    nodes.append(helper.make_node("LayerNormalization", ["x", *[c.name for c in constants[:2]]], ["normed"]))
    for name, weight in weights.items():
        scale = np.abs(weight.T).max(axis=0) / 127
        stored = np.rint(weight.T / scale).astype(np.int8)
        for part, array in (("q", stored), ("s", scale), ("z", np.zeros(4, np.int8))):
            constants.append(numpy_helper.from_array(array, f"{name}_{part}"))
        parts = [f"{name}_{part}" for part in "qsz"]
        nodes.append(helper.make_node("DequantizeLinear", parts, [f"{name}_weight"], axis=1))
        nodes.append(helper.make_node("MatMul", ["normed", f"{name}_weight"], [f"{name}_product"]))
    nodes.append(helper.make_node("Add", ["q_product", f"{prefix}.q_proj.bias"], ["query"]))
    nodes.append(helper.make_node("Identity", ["k_product"], ["key"]))
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("query", "key")]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)]
    model = helper.make_model(helper.make_graph(nodes, "origin", inputs, outputs, constants))
    read = whisper._read_weights(model)
    assert np.abs(read["layers.0.self_attn.q_proj.weight"] - weights["q"]).max() < 0.02
    assert np.abs(read["layers.0.self_attn.k_proj.weight"] - weights["k"]).max() < 0.02
    assert (read["layers.0.self_attn.q_proj.bias"] == 1).all()
