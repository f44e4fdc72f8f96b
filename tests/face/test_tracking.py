"""Tracking: identities on drawn detections (no network), then the whole way on moved portraits."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from moodreel.face.alignment import FER_TEMPLATE
from moodreel.face.assignment import assign_pairs
from moodreel.face.detector import Face, FaceDetector
from moodreel.face.looks import normalise
from moodreel.face.people import GroupingOptions, TrackedPerson, find_people, group_people
from moodreel.face.shots import ShotDetector
from moodreel.face.tracking import FaceTrack, FaceTracker, TrackedFace, TrackingOptions, blend_faces

skimage_data = pytest.importorskip("skimage.data")

RATE_HZ = 6


@dataclass(frozen=True)
class Shown:
    """A stand-in for `moodreel.media.frames.Frame`."""

    time_s: float
    pixels: np.ndarray
    scale: float = 1.0


def draw_face(x: float, y: float, height: float = 60.0, score: float = 0.9) -> Face:
    box = (x - height * 0.375, y - height / 2, x + height * 0.375, y + height / 2)
    landmarks = (np.array(FER_TEMPLATE) - 0.5) * height + [x, y]
    return Face(box, score, landmarks.astype(np.float32))


class Script:
    """A detector that reads the answer from the frame's number, which stands in the frame's first pixel."""

    def __init__(self, frames: list[list[tuple[str, Face]]]) -> None:
        self.frames = frames
        self.asked: list[int] = []

    def detect(self, pixels: np.ndarray) -> tuple[Face, ...]:
        number = int(pixels[0, 0, 0]) * 256 + int(pixels[0, 0, 1])
        self.asked.append(number)
        return tuple(face for _, face in self.frames[number])

    def describe(self, pixels: np.ndarray, face: Face) -> np.ndarray:
        number = int(pixels[0, 0, 0]) * 256 + int(pixels[0, 0, 1])
        name = next(name for name, other in self.frames[number] if other is face)
        return looks_of(name, number)

    def pictures(self, shots: Iterable[int] = ()) -> Iterator[Shown]:
        """Yield a plain picture per frame; at each of `shots` its colour changes."""
        colours = ((90, 90, 90), (200, 40, 40), (20, 160, 220))
        shot = 0
        for number in range(len(self.frames)):
            shot += number in tuple(shots)
            pixels = np.full((180, 320, 3), colours[shot % 3], dtype=np.uint8)
            pixels[0, 0, :2] = divmod(number, 256)
            yield Shown(number / RATE_HZ, pixels)


def looks_of(name: str, number: int) -> np.ndarray:
    """Looks of a person: a fixed direction with some noise; `A` and `a` look much alike."""
    base = np.random.default_rng(ord(name.upper())).normal(size=64)
    noise = np.random.default_rng(1000 * ord(name) + number).normal(size=64) * 0.25
    return normalise(base + noise)


def run(script: Script, shots: Iterable[int] = (), **options) -> tuple[list[TrackedFace], FaceTracker]:
    tracker = FaceTracker(script, TrackingOptions(side_px=16, **options), describe=script.describe)
    return list(tracker.track(script.pictures(shots))), tracker


def people_of(tracker: FaceTracker) -> tuple[TrackedPerson, ...]:
    return group_people(tracker.tracks(), tracker.frame_count, tracker.detection_count)


def names_by_track(script: Script, seen: list[TrackedFace]) -> dict[int, set[str]]:
    """Return who really was under each track, by the nearest drawn face."""
    names: dict[int, set[str]] = {}
    for face in seen:
        x = (face.box_px[0] + face.box_px[2]) / 2
        shown = script.frames[round(face.time_s * RATE_HZ)]
        if shown:
            nearest = min(shown, key=lambda pair: abs((pair[1].box_px[0] + pair[1].box_px[2]) / 2 - x))
            names.setdefault(face.track_id, set()).add(nearest[0])
    return names


def crossing(hidden: range, step: float = 8.0) -> Script:
    """Two people walk past each other; the one behind, B, is not seen in the frames of `hidden`."""
    frames = []
    for number in range(36):
        faces = [("A", draw_face(20 + step * number, 90))]
        if number not in hidden:
            faces.append(("B", draw_face(300 - step * number, 86)))
        frames.append(faces)
    return Script(frames)


@pytest.mark.parametrize("hidden", [range(0), range(16, 20), range(15, 21)])
def test_identities_survive_a_crossing(hidden):
    script = crossing(hidden)
    seen, tracker = run(script, detect_every_s=1 / RATE_HZ)
    assert all(len(names) == 1 for names in names_by_track(script, seen).values())
    assert len(people_of(tracker)) == 2


@settings(max_examples=12)
@given(step=st.floats(2, 9), gap=st.integers(0, 6), every=st.sampled_from([1, 2]))
def test_identities_survive_any_crossing(step, gap, every):
    middle = round(140 / step)
    script = crossing(range(middle - gap // 2, middle + gap - gap // 2), step)
    seen, _ = run(script, detect_every_s=every / RATE_HZ)
    names = names_by_track(script, [face for face in seen if abs(face.time_s * RATE_HZ - middle) > 4])
    assert all(len(found) == 1 for found in names.values())


def test_a_cut_never_carries_a_track_over():
    """Shot, reverse shot at the same place: A, B, A; the tracks end, the looks bring A together again."""
    frames = [[("ABA"[number // 12], draw_face(160, 90))] for number in range(36)]
    script = Script(frames)
    seen, tracker = run(script, shots=(12, 24))
    assert names_by_track(script, seen) == {1: {"A"}, 2: {"B"}, 3: {"A"}}
    assert len(seen) == 36
    first, second = people_of(tracker)
    assert (first.track_ids, second.track_ids) == ((1, 3), (2,))
    assert first.share_on_screen == pytest.approx(2 / 3)
    assert second.share_on_screen == pytest.approx(1 / 3)


def test_a_missed_cut_starts_a_new_track():
    frames = [[("AB"[number // 12], draw_face(160, 90))] for number in range(24)]
    script = Script(frames)
    seen, tracker = run(script)
    assert len(people_of(tracker)) == 2
    assert all(len(names) == 1 for names in names_by_track(script, seen).values())


def test_leaving_and_entering_again():
    frames = [[("A", draw_face(160, 90))] if number < 12 or number >= 30 else [] for number in range(42)]
    script = Script(frames)
    seen, tracker = run(script)
    assert [track.id for track in tracker.tracks()] == [1, 2]
    (person,) = people_of(tracker)
    assert person.track_ids == (1, 2)
    assert len(person.times_s) == len(seen)
    assert np.all(np.diff(person.times_s) > 0)


def test_alike_but_at_the_same_time_stay_two():
    frames = [[("A", draw_face(80, 90)), ("a", draw_face(240, 90))] for _ in range(12)]
    _, tracker = run(Script(frames))
    assert len(people_of(tracker)) == 2


def test_ambiguous_looks_are_not_joined():
    """A and her twin a are both known when somebody like them returns: a third id rather than a guess."""
    frames = [
        [("A", draw_face(80, 90)), ("a", draw_face(240, 90))] if number < 12 else [("A", draw_face(160, 90))]
        for number in range(24)
    ]
    _, tracker = run(Script(frames), shots=(12,))
    assert len(people_of(tracker)) == 3


def test_a_flicker_is_nobody_but_a_still_is():
    frames = [
        [("A", draw_face(80, 90))] + ([("B", draw_face(250, 60))] if number == 12 else []) for number in range(30)
    ]
    seen, tracker = run(Script(frames))
    assert {face.track_id for face in seen} == {1, 2}
    assert [person.track_ids for person in people_of(tracker)] == [(1,)]
    _, tracker = run(Script([[("A", draw_face(80, 90, score=0.55))]]))
    (person,) = people_of(tracker)
    assert person.share_on_screen == 1.0


def test_a_brief_face_counts_unless_somebody_else_dominates():
    brief = [[("A", draw_face(80, 90))] if number < 3 else [] for number in range(30)]
    _, tracker = run(Script(brief))
    assert len(people_of(tracker)) == 1
    beside = [[*shown, ("B", draw_face(250, 60))] for shown in brief]
    _, tracker = run(Script(beside))
    assert len(people_of(tracker)) == 1


def test_no_frames_nobody():
    seen, tracker = run(Script([]))
    assert (seen, tracker.tracks(), people_of(tracker)) == ([], (), ())


def test_between_detections_faces_move_along():
    frames = [[("A", draw_face(100 + 4 * number, 90, 50 + number))] for number in range(13)]
    script = Script(frames)
    seen, tracker = run(script)
    assert script.asked == [0, 2, 4, 6, 8, 10, 12]
    assert [round(face.time_s * RATE_HZ) for face in seen] == list(range(13))
    for number, face in enumerate(seen):
        assert face.box_px == pytest.approx(frames[number][0][1].box_px, abs=0.01)
        assert face.landmarks_px == pytest.approx(frames[number][0][1].landmarks_px, abs=0.01)
    assert tracker.tracks()[0].detections == 7


@pytest.mark.parametrize("people", [[("A", 20, 20)], [("A", 130, 0), ("B", 190, 0)]])
def test_fast_or_close_faces_are_detected_in_each_frame(people):
    frames = [[(name, draw_face(x + step * number, 90)) for name, x, step in people] for number in range(13)]
    script = Script(frames)
    run(script)
    assert len(script.asked) >= 12


def test_the_last_frames_of_a_shot_are_detected():
    frames = [[("A", draw_face(160, 90))] for _ in range(12)]
    script = Script(frames)
    seen, _ = run(script, shots=(8,))
    assert 7 in script.asked
    assert 8 in script.asked
    assert script.asked[-1] == 11
    assert len(seen) == 12


def test_boxes_come_in_source_pixels():
    pixels = np.full((180, 320, 3), 90, dtype=np.uint8)
    pixels[0, 0] = 0
    script = Script([[("A", draw_face(160, 90))]])
    tracker = FaceTracker(script, TrackingOptions(side_px=16), describe=script.describe)
    (face,) = tracker.track([Shown(0.0, pixels, scale=0.25)])
    box = script.frames[0][0][1].box_px
    assert face.box_px == pytest.approx([4 * edge for edge in box])
    assert tracker.tracks()[0].boxes_px[0] == pytest.approx(face.box_px)
    assert face.landmarks_px == pytest.approx(4 * script.frames[0][0][1].landmarks_px)
    assert face.crop.shape == (16, 16, 3)


def test_a_crowd_is_bounded():
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(20):
        places = rng.uniform([20, 20], [300, 160], size=(40, 2))
        frames.append([("A", draw_face(x, y, 25)) for x, y in places])
    seen, tracker = run(Script(frames), max_tracks=5)
    assert max(sum(face.time_s == time_s for face in seen) for time_s in {face.time_s for face in seen}) <= 5
    assert len(tracker._active) <= 5


def test_times_that_stand_still_do_not_hoard_frames():
    script = Script([[("A", draw_face(160, 90))] for _ in range(60)])
    tracker = FaceTracker(script, TrackingOptions(side_px=16), describe=script.describe)
    seen = list(tracker.track(Shown(0.0, shown.pixels) for shown in script.pictures()))
    assert len(seen) == 60
    assert len(script.asked) >= 5


def test_memory_does_not_grow_with_length():
    def peak(count: int) -> int:
        script = Script([[("A", draw_face(160, 90))]] * count)
        tracker = FaceTracker(script, TrackingOptions(side_px=48), describe=script.describe)
        tracemalloc.start()
        for _ in tracker.track(script.pictures()):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    short, long = peak(40), peak(240)
    assert long - short < 200 * 200


def test_two_people_of_a_long_film_stay_two():
    """They alternate over 1000 shots: each comparison is with people, not with every track before."""
    looks = np.eye(2, 8, dtype=np.float32)
    boxes_px = np.tile(np.float32([10, 10, 60, 60]), (5, 1))
    tracks = [
        FaceTrack(number + 1, number, number + np.arange(5) / 5, boxes_px, 3, 0.9, looks[number % 2])
        for number in range(1000)
    ]
    people = group_people(tracks, 5000, 2500)
    assert [len(person.track_ids) for person in people] == [500, 500]
    assert [person.share_on_screen for person in people] == [0.5, 0.5]


def shot(number: int, looks: np.ndarray, appearance: np.ndarray, start_s: float | None = None) -> FaceTrack:
    """A track of a second in a shot of its own, at one place."""
    times_s = (float(number) if start_s is None else start_s) + np.arange(5) / 5
    boxes_px = np.tile(np.float32([10, 10, 60, 60]), (5, 1))
    return FaceTrack(number + 1, number, times_s, boxes_px, 3, 0.9, looks, appearance, 3)


def vector(*values: float) -> np.ndarray:
    return normalise(np.array(values, np.float32))


def test_appearance_overrules_looks_across_a_cut_both_ways():
    red, blue = np.eye(2, dtype=np.float32)
    anna, bert = vector(1, 0, 0.2), vector(0, 1, 0.2)
    alike = [shot(0, red, anna), shot(1, red, bert)]
    unlike = [shot(0, red, anna), shot(1, blue, anna)]
    assert len(group_people(alike, 10, 6)) == 1, "by looks, where nothing else tells"
    assert len(group_people(alike, 10, 6, same_person=0.6)) == 2
    assert len(group_people(unlike, 10, 6)) == 2, "by looks, where nothing else tells"
    assert len(group_people(unlike, 10, 6, options=GroupingOptions(similarity=-1.0, margin=0.0))) == 1
    assert len(group_people(unlike, 10, 6, same_person=0.6)) == 1


def test_two_who_alternate_in_another_framing_are_two():
    rng = np.random.default_rng(3)
    faces = np.eye(2, 12, dtype=np.float32)
    tracks = [
        shot(number, vector(*rng.normal(size=8)), normalise(faces[number % 2] + rng.normal(size=12) * 0.15))
        for number in range(12)
    ]
    people = group_people(tracks, 60, 36, same_person=0.6)
    assert [person.track_ids for person in people] == [(1, 3, 5, 7, 9, 11), (2, 4, 6, 8, 10, 12)]
    assert [int(np.argmax(person.appearance)) for person in people] == [0, 1]


def test_two_on_screen_at_one_time_are_never_one_however_alike():
    face = vector(1, 0, 0)
    tracks = [shot(0, vector(1, 0), face), shot(1, vector(0, 1), face, start_s=0.4)]
    assert len(group_people(tracks, 10, 6, same_person=0.0)) == 2


def test_of_twins_seen_together_neither_is_taken_for_who_comes_later():
    anna, twin, later = vector(1, 0.05, 0), vector(1, -0.05, 0), vector(1, 0, 0)
    tracks = [
        shot(0, vector(1, 0, 0), anna),
        shot(1, vector(0, 1, 0), twin, start_s=0.4),
        shot(2, vector(0, 0, 1), later),
    ]
    assert len(group_people(tracks, 15, 9, same_person=0.6)) == 3


def test_a_person_split_in_two_takes_who_comes_later_all_the_same():
    """Front and profile were too unlike to be joined, and were never seen together: no twins, but one person."""
    front, profile, between = vector(1, 0, 0), vector(0.55, 0.84, 0), vector(0.88, 0.47, 0)
    tracks = [shot(number, vector(*np.eye(3)[number]), one) for number, one in enumerate((front, profile, between))]
    assert len(group_people(tracks, 15, 9, same_person=0.6)) == 2


def test_faces_of_which_nothing_is_known_are_joined_by_looks():
    nothing = np.zeros(0, np.float32)
    looks = np.eye(2, dtype=np.float32)
    tracks = [shot(0, looks[0], vector(1, 0)), shot(1, looks[1], vector(0, 1)), shot(2, looks[0], nothing)]
    people = group_people(tracks, 15, 9, same_person=0.6)
    assert [person.track_ids for person in people] == [(1, 3), (2,)]
    assert len(group_people([shot(0, looks[0], nothing)], 5, 3, same_person=0.6)[0].appearance) == 0


def test_who_takes_a_place_just_left_is_somebody_else_if_the_face_is():
    """One shot: the looks pass for the same at that place, the faces do not."""
    looks = (vector(1, 0, 0), vector(0.8, 0.6, 0))
    for second, expected in ((vector(0.1, 1, 0), 2), (vector(0.5, 0.86, 0), 1)):
        first, later = shot(0, looks[0], vector(1, 0, 0)), replace(shot(1, looks[1], second, start_s=2.0), shot=0)
        assert len(group_people([first, later], 15, 9, same_person=0.6)) == expected


def test_a_film_of_two_thousand_strangers_is_grouped_in_seconds():
    rng = np.random.default_rng(0)
    tracks = [
        shot(number, vector(*rng.normal(size=48)), normalise(rng.normal(size=64).astype(np.float32)))
        for number in range(2000)
    ]
    began = time.process_time()
    people = group_people(tracks, 10_000, 6000, same_person=0.9)
    assert time.process_time() - began < 10
    assert len(people) == 2000


class Glances:
    """Stands in for the network: tells who a face is, and counts how often it is asked."""

    same_person = 0.6

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[int] = []

    def describe(self, pixels: np.ndarray, face: Face) -> np.ndarray:
        number = int(pixels[0, 0, 0]) * 256 + int(pixels[0, 0, 1])
        self.asked.append(number)
        name = next(name for name, other in self.script.frames[number] if other is face)
        return np.eye(3, dtype=np.float32)["AB".index(name)]


def test_a_long_track_is_looked_at_a_few_times_only():
    script = Script([[("A", draw_face(160, 90))]] * 400)
    glances = Glances(script)
    tracker = FaceTracker(script, TrackingOptions(side_px=16), describe=script.describe, appearance=glances)
    list(tracker.track(script.pictures()))
    (track,) = tracker.tracks()
    assert track.detections == 201
    assert len(glances.asked) == track.glances == 9  # 1, 2, 3, 4, 8, 16, 32, 64, 128
    assert np.linalg.norm(track.appearance) == pytest.approx(1, abs=1e-6)


def test_a_cut_that_nobody_noticed_puts_nobody_in_anothers_track():
    """The same wall, the same place, looks that pass for one person's: only the face tells."""
    frames = [[("AB"[number // 12], draw_face(160, 90))] for number in range(24)]
    script = Script(frames)
    alike = {"A": vector(1, 0), "B": vector(0.85, 0.53)}
    looks = lambda pixels, face: alike["AB"[(int(pixels[0, 0, 0]) * 256 + int(pixels[0, 0, 1])) // 12]]  # noqa: E731
    tracker = FaceTracker(script, TrackingOptions(side_px=16), describe=looks, appearance=Glances(script))
    seen = list(tracker.track(script.pictures()))
    assert all(len(names) == 1 for names in names_by_track(script, seen).values())
    assert sorted(person.track_ids for person in find_people(tracker)) == [(1,), (2,)]


def test_a_face_too_small_to_tell_goes_on_by_its_looks():
    frames = [[("A", draw_face(160, 90))] for _ in range(24)]
    script = Script(frames)
    alike = (vector(1, 0), vector(0.85, 0.53))
    looks = lambda pixels, face: alike[(int(pixels[0, 0, 0]) * 256 + int(pixels[0, 0, 1])) // 12]  # noqa: E731

    class Nothing(Glances):
        def describe(self, pixels, face):
            return np.zeros(0, np.float32)

    tracker = FaceTracker(script, TrackingOptions(side_px=16), describe=looks, appearance=Nothing(script))
    list(tracker.track(script.pictures()))
    assert [track.glances for track in tracker.tracks()] == [0]


def test_a_face_in_another_framing_after_a_cut_is_the_same_person():
    frames = [[("ABAB"[number // 12], draw_face(160, 90, 60 + 40 * (number >= 24)))] for number in range(48)]
    script = Script(frames)
    unlike = iter(np.eye(64, dtype=np.float32))
    by_shot = {number: next(unlike) for number in range(4)}
    looks = lambda pixels, face: by_shot[(int(pixels[0, 0, 0]) * 256 + int(pixels[0, 0, 1])) // 12]  # noqa: E731
    tracker = FaceTracker(script, TrackingOptions(side_px=16), describe=looks, appearance=Glances(script))
    list(tracker.track(script.pictures((12, 24, 36))))
    assert [person.track_ids for person in find_people(tracker)] == [(1, 3), (2, 4)]
    tracker.appearance = None
    assert len(find_people(tracker)) == 4, "nothing is joined where nothing tells"


@settings(max_examples=60)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 10_000))
def test_assignment_is_the_cheapest(rows, columns, seed):
    costs = np.random.default_rng(seed).uniform(0, 2, (rows, columns))
    pairs = assign_pairs(costs, 1.5)
    assert all(costs[pair] < 1.5 for pair in pairs)
    alone = min(rows, columns)
    total = sum(costs[pair] for pair in pairs) + 1.5 * (alone - len(pairs))
    capped = np.minimum(costs if rows <= columns else costs.T, 1.5)
    best = min(
        sum(capped[i, j] for i, j in enumerate(order)) for order in permutations(range(max(rows, columns)), alone)
    )
    assert total == pytest.approx(best)


def test_assignment_of_nothing():
    assert assign_pairs(np.zeros((0, 3)), 1.0) == []
    assert assign_pairs(np.zeros((3, 0)), 1.0) == []


def test_blending_keeps_the_ends():
    before, after = draw_face(10, 20, 30, 0.9), draw_face(50, 60, 40, 0.7)
    assert blend_faces(before, after, 0.0).box_px == before.box_px
    assert blend_faces(before, after, 1.0).box_px == pytest.approx(after.box_px)
    assert blend_faces(before, after, 0.5).score == 0.7


def test_motion_is_no_cut_and_a_cut_is():
    noise = np.random.default_rng(0).integers(0, 256, (12, 40, 3), dtype=np.uint8)
    wide = np.asarray(Image.fromarray(noise).resize((800, 180), Image.Resampling.BILINEAR))
    shots = ShotDetector()
    assert not any(shots.is_cut(wide[:, shift : shift + 320]) for shift in range(0, 80, 8))
    assert shots.is_cut(255 - wide[:, 80:400] // 2)
    assert not shots.is_cut(255 - wide[:, 80:400] // 2)


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector()


@pytest.fixture(scope="module")
def heads() -> dict[str, np.ndarray]:
    """Two people: the portrait's head, and the same mirrored with other colours and light."""
    head = np.asarray(Image.fromarray(np.asarray(skimage_data.astronaut())[10:300, 110:340]).resize((120, 150)))
    other = np.clip(head[:, ::-1][..., [2, 0, 1]].astype(int) * 3 // 4 + 20, 0, 255).astype(np.uint8)
    return {"A": head, "B": other}


def paste(pixels: np.ndarray, head: np.ndarray, x: int, y: int) -> None:
    pixels[y : y + head.shape[0], x : x + head.shape[1]] = head


def test_two_portraits_cross(detector, heads):
    """A passes before B; both are found again on the other side under their own ids."""
    frames = []
    for number in range(24):
        pixels = np.full((180, 480, 3), 120, dtype=np.uint8)
        paste(pixels, heads["B"], 350 - 15 * number, 20)
        paste(pixels, heads["A"], 5 + 15 * number, 25)
        frames.append(Shown(number / RATE_HZ, pixels))
    tracker = FaceTracker(detector)
    seen = list(tracker.track(frames))
    places: dict[int, list[tuple[float, float]]] = {}
    for face in seen:
        places.setdefault(face.track_id, []).append((face.time_s, face.box_px[0]))
    people = people_of(tracker)
    assert len(people) == 2
    for person in people:
        path = sorted(spot for track in person.track_ids for spot in places[track])
        steps = np.diff([x for _, x in path])
        assert np.all(steps > -6) or np.all(steps < 6)
        assert abs(path[-1][1] - path[0][1]) > 200


def test_portraits_over_a_cut(detector, heads):
    backs = [(120, 120, 120), (30, 90, 160), (120, 120, 120)]
    frames = []
    for number in range(24):
        pixels = np.full((180, 320, 3), backs[number // 8], dtype=np.uint8)
        paste(pixels, heads["ABA"[number // 8]], 100, 20)
        frames.append(Shown(number / RATE_HZ, pixels))
    tracker = FaceTracker(detector)
    seen = list(tracker.track(frames))
    assert len(seen) == 24
    assert [person.track_ids for person in people_of(tracker)] == [(1, 3), (2,)]
    crops = [face.crop.astype(float).ravel() for face in seen if face.track_id == 1]
    assert all(np.corrcoef(crops[0], crop)[0, 1] > 0.97 for crop in crops)


def test_noise_holds_nobody(detector):
    rng = np.random.default_rng(0)
    frames = [Shown(n / RATE_HZ, rng.integers(0, 256, (90, 160, 3), dtype=np.uint8)) for n in range(6)]
    tracker = FaceTracker(detector)
    assert list(tracker.track(frames)) == []
    assert tracker.frame_count == 6
