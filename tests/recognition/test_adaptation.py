"""Adaptation: what a person looks and sounds like at rest goes, what the person shows stays."""

import json
from dataclasses import replace

import numpy as np
import pytest

from conftest import chirp
from media_files import write_image
from moodreel import Recognizer
from moodreel.errors import BundleError
from moodreel.face.people import TrackedPerson
from moodreel.media.frames import Frame
from moodreel.recognition.adaptation import (
    Adapter,
    OffsetModel,
    apply_offsets,
    cut_stretches,
    estimate_at_rest,
    estimate_offsets,
    read_adapter,
    shift,
)
from moodreel.recognition.evidence import Answer, Evidence, SeenPerson
from moodreel.training.calibration.offsets import fit_offsets
from tiny_bundle import OFFSETS as SECTION, write_tiny_bundle

N = 7
MOVES = 1.5 * (np.eye(N) - 1 / N)
MODEL = OffsetModel(MOVES, 0.8 * np.eye(N), 0.25 * np.eye(N))


def draw(rng, emotions, offset, spread=0.5):
    """Log-probabilities of someone who shows these emotions."""
    rows = MOVES[emotions] + offset + spread * rng.normal(size=(len(emotions), N))
    return rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))


def share_right(answers, emotions):
    return float((answers.argmax(axis=1) == emotions).mean())


def test_a_resting_face_is_taken_out():
    rng = np.random.default_rng(0)
    before, after = [], []
    for _ in range(40):
        offset = rng.normal(size=N)
        emotions = rng.integers(N, size=30)
        answers = draw(rng, emotions, offset - offset.mean())
        before.append(share_right(answers, emotions))
        after.append(share_right(answers - MODEL.estimate(answers), emotions))
    assert np.mean(after) > np.mean(before) + 0.1


@pytest.mark.parametrize("emotion", range(N))
def test_who_shows_one_emotion_most_of_the_time_keeps_it(emotion):
    """A mean that is taken out makes a person who smiles through the whole film neutral."""
    rng = np.random.default_rng(emotion)
    before, after, centred = [], [], []
    for _ in range(40):
        offset = 0.8 * rng.normal(size=N)
        emotions = np.where(rng.random(20) < 0.8, emotion, rng.integers(N, size=20))
        answers = draw(rng, emotions, offset - offset.mean())
        before.append(share_right(answers, emotions))
        after.append(share_right(answers - MODEL.estimate(answers), emotions))
        centred.append(share_right(answers - answers.mean(axis=0), emotions))
    assert np.mean(after) >= np.mean(before) - 0.02
    assert np.mean(after) > np.mean(centred)


@pytest.mark.parametrize("emotion", range(N))
def test_who_shows_one_emotion_keeps_it_where_the_networks_are_surer_than_those_it_was_learnt_on(emotion):
    """A few stretches of another emotion lie far away then, and must not pass for variety."""
    rng = np.random.default_rng(emotion)
    before, after = [], []
    for _ in range(40):
        emotions = np.where(rng.random(25) < 0.8, emotion, rng.integers(N, size=25))
        answers = 3 * draw(rng, emotions, 0.3 * rng.normal(size=N), spread=0.5 / 3)
        before.append(share_right(answers, emotions))
        after.append(share_right(answers - MODEL.estimate(answers), emotions))
    assert np.mean(after) >= np.mean(before) - 0.01


def test_the_variety_of_a_ten_hour_call_is_told_from_a_part_of_it():
    rng = np.random.default_rng(6)
    answers = draw(rng, np.arange(9000) % N, np.zeros(N))
    assert MODEL.trust_variety(answers) == pytest.approx(MODEL.trust_variety(answers[:250]), abs=0.1)


def test_one_stretch_changes_nothing_and_more_change_more():
    rng = np.random.default_rng(1)
    offset = np.array([1.5, 0, 0, 0, 0, 0, -1.5])
    answers = draw(rng, rng.permutation(np.arange(60) % N), offset)
    sizes = [np.abs(MODEL.estimate(answers[:n])).max() for n in (1, 2, 6, 60)]
    assert sizes[0] == 0 and sizes[1] < sizes[2] < sizes[3]
    estimated = MODEL.estimate(answers)
    assert np.corrcoef(estimated, offset)[0, 1] > 0.95
    assert 0.3 < estimated @ offset / (offset @ offset) < 1.05


def test_answers_that_hardly_vary_are_left_as_they_are():
    """Nobody can tell then whether that is the person or what the person shows."""
    rng = np.random.default_rng(5)
    answers = draw(rng, np.full(40, 3), np.zeros(N))
    assert np.abs(MODEL.estimate(answers)).max() < 0.05
    assert MODEL.trust_variety(answers) < 0.05 < 0.5 < MODEL.trust_variety(draw(rng, np.arange(42) % N, np.zeros(N)))


def test_a_person_at_rest_is_neutral_from_one_picture():
    offset = np.array([0, 0, 1.0, 0, -1.0, 0, 0])
    estimated = MODEL.estimate(draw(np.random.default_rng(2), np.array([4]), offset, spread=0.0), known=4)
    assert estimated == pytest.approx(offset * 0.8 / (0.8 + 2 * 0.25), abs=1e-6)


def test_the_fit_finds_what_was_planted():
    rng = np.random.default_rng(3)
    answers, labels, people = [], [], []
    for person in range(60):
        emotions = np.repeat(np.arange(6), 5)  # nobody shows the seventh
        offset = np.diag([1.0, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]) @ rng.normal(size=N)
        answers.append(draw(rng, emotions, offset - offset.mean()))
        labels.append(emotions)
        people += [str(person)] * 30
    model = fit_offsets(np.concatenate(answers), np.concatenate(labels), people)
    assert np.diag(model.expressions).argmin() in range(N) and (model.expressions.argmax(axis=1) == np.arange(N)).all()
    assert model.person[0, 0] > 4 * model.person[1, 1]
    assert model.within.trace() / N == pytest.approx(0.25 * 6 / 7 + 0.05, abs=0.1)


def test_people_of_few_emotions_teach_nothing():
    rng = np.random.default_rng(4)
    assert fit_offsets(draw(rng, np.array([0, 0, 1, 1]), np.zeros(N)), np.array([0, 0, 1, 1]), ["a"] * 4) is None


def test_both_offsets_leave_the_fused_answer_by_their_weights():
    face, voice = (np.exp(draw(np.random.default_rng(n), np.array([n]), np.zeros(N))[0]) for n in (0, 1))
    fused = face**0.5 * voice**2
    answer = Answer(face, voice, fused / fused.sum(), (0.5, 2.0))
    offsets = estimate_offsets(Adapter(MODEL, MODEL), [])
    assert shift(answer, offsets) == answer, "no offset, and still something moved"


@pytest.fixture
def adapting_bundle(tmp_path):
    return write_tiny_bundle(tmp_path / "adapting", adaptation={"face": SECTION, "voice": SECTION})


def test_a_bundle_without_the_section_adapts_nothing(tiny_bundle, face_clip):
    recognizer = Recognizer.load(tiny_bundle)
    assert recognizer.predict(face_clip) == recognizer.predict(face_clip, adapt=False)
    assert recognizer.predict(face_clip).adaptation is None


def show(evidence, emotion):
    """The same clip, as if the person showed an emotion in it."""
    shown = np.exp(draw(np.random.default_rng(emotion), np.array([emotion]), np.array([1.0, 0, 0, 0, 0, 0, -1.0]))[0])
    return replace(evidence, whole=replace(evidence.whole, face=shown, voice=shown))


def test_more_clips_of_a_person_move_the_answer(adapting_bundle, face_clip):
    recognizer = Recognizer.load(adapting_bundle)
    evidence = recognizer.observe(face_clip)
    others = [show(evidence, place % N) for place in range(19)]
    alone, among = recognizer.conclude(evidence, [evidence]), recognizer.conclude(evidence, [evidence, *others])
    plain = recognizer.conclude(evidence)
    assert (alone.adaptation.to, among.adaptation.to) == ("clip", "folder")
    assert among.adaptation.face_stretches == among.adaptation.voice_stretches == 20
    assert alone.probabilities == pytest.approx(plain.probabilities)
    assert among.adaptation.moved > 0.01
    assert among.probabilities != pytest.approx(plain.probabilities, abs=0.01)
    assert among.people[0].windows[0].probabilities != pytest.approx(plain.people[0].windows[0].probabilities, abs=1e-3)
    assert sum(among.probabilities) == pytest.approx(1)
    assert json.loads(among.to_json())["adaptation"]["to"] == "folder"


def test_a_baseline_is_all_that_is_adapted_to(adapting_bundle, face_clip):
    recognizer = Recognizer.load(adapting_bundle)
    evidence = recognizer.observe(face_clip)
    answer = recognizer.conclude(evidence, at_rest=evidence)
    assert answer.adaptation.to == "baseline"
    neutral = 4
    assert answer.probabilities[neutral] > recognizer.conclude(evidence).probabilities[neutral]


def test_a_stream_adapts_as_it_goes_on_and_can_be_reset(tmp_path, portrait_frames):
    """What counts as varied is little here, for a tiny network's answers hardly vary."""
    little = {
        "expressions": (MOVES / 1e3).tolist(),
        "within": (MODEL.within / 1e6).tolist(),
        "person": SECTION["person"],
    }
    bundle = write_tiny_bundle(tmp_path / "live", adaptation={"face": little, "voice": little})
    reader = Recognizer.load(bundle).start_live()
    sound = np.asarray(chirp(np.arange(32_000) / 16_000), np.float32)
    moved = []
    for second in range(2, 42, 2):
        reader.watch(Frame(second - 0.5, portrait_frames[0] // (1 + second % 3), 1.0))
        reader.listen(sound * (1 + second % 3) / 3, float(second))
        moved.append(reader.read(float(second)).prediction.adaptation.moved)
    assert moved[0] == 0 and moved[-1] > moved[2] > 0
    reader.forget(42.5)
    reader.listen(sound, 44.0)
    assert reader.read(44.0).prediction.adaptation.moved == 0
    reader.listen(sound, 46.0)
    first = reader.read(46.0).prediction.adaptation
    assert first.voice_stretches == 1, "the window across the change of people was taken for the new one's"


@pytest.mark.parametrize(
    "section",
    [
        {"face": {}},
        {"face": {**SECTION, "person": [[1]]}},
        {"voice": {**SECTION, "within": (-np.eye(N)).tolist()}},
        {"voice": {**SECTION, "expressions": "none"}},
        {"face": {**SECTION, "person": np.full((N, N), np.nan).tolist()}},
    ],
)
def test_a_malformed_section_is_one_line(section):
    with pytest.raises(BundleError, match="adaptation"):
        read_adapter(section)


def test_in_a_crowd_a_person_is_known_by_that_persons_windows_alone():
    """Faces of others, which the windows of a crowd show, say nothing of how this one looks at rest."""
    rng = np.random.default_rng(0)
    own, others = np.exp(draw(rng, rng.integers(N, size=24), 0.0)), np.exp(draw(rng, np.full(24, 2), np.eye(N)[2]))
    mixed = [Answer(face, person=1) for face in own[:12]] + [Answer(face, person=2) for face in others[12:]]
    alone = [Answer(face, person=1) for face in own[:12]] + [Answer()] * 12
    people = [make_seen(number, faces) for number, faces in ((1, own[:12]), (2, others[12:]))]
    crowd, lonely = (make_evidence(windows, people) for windows in (mixed, alone))
    offsets = estimate_offsets(Adapter(face=MODEL), [cut_stretches(crowd)])
    np.testing.assert_allclose(offsets.face, estimate_offsets(Adapter(face=MODEL), [cut_stretches(lonely)]).face)
    adapted = apply_offsets(crowd, offsets, "clip", Adapter(face=MODEL))
    other = next(seen for seen in adapted.people if seen.tracked.id == 2)
    np.testing.assert_allclose(adapted.windows[12].face, other.windows[12], err_msg="a person has one offset")


def make_seen(number, faces):
    tracked = TrackedPerson(number, (number,), 0.4, np.zeros(1), np.zeros((1, 4)), 1.0)
    first = 12 * (number - 1)
    return SeenPerson(tracked, faces.mean(axis=0), {first + index: face for index, face in enumerate(faces)})


def make_evidence(windows, people):
    """What was seen of several people, of whom the clip speaks for the first."""
    whole = Answer(windows[0].face, None, windows[0].face, (1.0, 0.0), 1)
    facts = {"reads": (True, True), "has_video": True, "has_sound": False, "frame_count": 9, "heard_s": 0.0}
    return Evidence(
        "c", 25.0, "m", **facts, is_silent=True, people=people, person=1, whole=whole, windows=windows,
        abstain_below=0.3, warnings=(),
    )  # fmt: skip


def test_a_picture_is_not_adapted_but_may_show_somebody_at_rest(adapting_bundle, portrait_frames, tmp_path):
    """People pose for pictures and smile: what is common to them is no resting face."""
    recognizer = Recognizer.load(adapting_bundle)
    picture = write_image(tmp_path / "face.png", np.asarray(portrait_frames[0]), codec="png", pix_fmt="rgb24")
    evidence = recognizer.observe(picture)
    among = recognizer.conclude(evidence, [evidence] * 20)
    assert among.probabilities == recognizer.conclude(evidence).probabilities
    assert estimate_at_rest(recognizer.adapter, evidence).face.any()
