"""Cutting a face out of a picture, upright and framed as the expression network was taught.

The alignment is a least-squares similarity (Umeyama 1991, "Least-squares estimation of transformation parameters
between two point patterns", IEEE PAMI 13(4)), here of the eyes, the nose tip and the corners of the mouth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from moodreel.face.detector import Floats, Pixels

_SMOOTH_FROM = 1.6
_LEAST_SIDE, _MOST_SIDE = 0.45, 1.7
_LARGEST_ROLL = np.deg2rad(75.0)
_MOST_STRETCH = 2.0


FER_TEMPLATE: tuple[tuple[float, float], ...] = (
    (0.315, 0.405),
    (0.685, 0.405),
    (0.500, 0.602),
    (0.352, 0.749),
    (0.648, 0.749),
)
"""Where the five landmarks lie in FER2013's framing, in fractions of the crop's side (x right, y down): symmetrised
medians of the detector's own landmarks on 1463 of its training faces."""

_BOX_SIDE = 0.98
_BOX_CENTRE_Y = 0.485


@dataclass(frozen=True)
class Similarity:
    """A rotation, scaling and shift of the plane: `z -> turn * z + shift` on points x + iy.

    Attributes:
        turn: rotation and scale as one complex number.
        shift: the image of the origin.
    """

    turn: complex
    shift: complex

    def apply(self, points: Floats) -> npt.NDArray[np.float64]:
        """Map points of shape (…, 2)."""
        mapped = self.turn * (points[..., 0] + 1j * points[..., 1]) + self.shift
        return np.stack([mapped.real, mapped.imag], axis=-1)

    def inverse(self) -> Similarity:
        """Return the map back."""
        return Similarity(1 / self.turn, -self.shift / self.turn)


def fit_similarity(source: Floats, target: Floats) -> Similarity:
    """Find the similarity that brings points nearest to others, in least squares (Umeyama 1991, without reflection).

    Args:
        source: shape (n, 2), n at least 2, not all equal.
        target: the same shape.

    Raises:
        ValueError: the source points fall together, or are not finite.
    """
    a = source[:, 0].astype(np.float64) + 1j * source[:, 1]
    b = target[:, 0].astype(np.float64) + 1j * target[:, 1]
    spread = a - a.mean()
    energy = float(np.sum(np.abs(spread) ** 2))
    if not np.isfinite(energy) or energy < 1e-12:
        raise ValueError("a similarity needs two different, finite points")
    turn = complex(np.vdot(spread, b - b.mean()) / energy)
    return Similarity(turn, complex(b.mean() - turn * a.mean()))


def align_face(
    pixels: Pixels,
    landmarks_px: Floats,
    side_px: int,
    *,
    box_px: tuple[float, float, float, float] | None = None,
    template: Sequence[tuple[float, float]] = FER_TEMPLATE,
) -> Pixels:
    """Cut out one face, level and placed as in the template.

    Args:
        pixels: RGB uint8, shape (height, width, 3).
        landmarks_px: x and y of the five points of `Face.landmarks_px`, shape (5, 2), in pixels of the picture.
        side_px: side of the crop, at least 1.
        box_px: the face's box; where the landmarks cannot be right for it (a profile, points that fall together), the
            crop is cut upright around the box instead. Without it the landmarks are trusted.
        template: where the five points come to lie, in fractions of the crop's side.

    Returns:
        RGB uint8, shape (side_px, side_px, 3); what lies outside the picture repeats its edge.

    Raises:
        ValueError: neither the landmarks nor a box say where the face is.
    """
    to_crop = place_face(landmarks_px, box_px, template)
    scaled = Similarity(to_crop.turn * side_px, to_crop.shift * side_px)
    return sample(pixels, scaled.inverse(), side_px)


def flatten_face(pixels: Pixels, landmarks_px: Floats, side_px: int) -> Pixels:
    """Cut out one face as if seen from the front, as far as five landmarks tell.

    The affine map nearest to the template undoes roll, and to first order the foreshortening by yaw and pitch of a
    flat face: a frontalisation that needs no model of the head. Where it would more than double one direction against
    the other, the landmarks are not trusted so far and the similarity of `align_face` stands in.

    Args:
        pixels: RGB uint8, shape (height, width, 3).
        landmarks_px: x and y of the five points of `Face.landmarks_px`, shape (5, 2), in pixels of the picture.
        side_px: side of the crop, at least 1.

    Returns:
        RGB uint8, shape (side_px, side_px, 3); what lies outside the picture repeats its edge.

    Raises:
        ValueError: the landmarks fall together, or are not finite.
    """
    upright = align_face(pixels, landmarks_px, 2 * side_px)
    points = place_face(landmarks_px, None).apply(np.asarray(landmarks_px, dtype=np.float64))
    from_template = np.linalg.lstsq(np.c_[np.array(FER_TEMPLATE), np.ones(5)], points, rcond=None)[0]
    stretches = np.linalg.svd(from_template[:2], compute_uv=False)
    if stretches[0] > _MOST_STRETCH * stretches[1]:
        from_template = np.eye(3)[:, :2]
    (a, d), (b, e), (c, f) = (from_template * [[2.0], [2.0], [2.0 * side_px]]).tolist()
    picture = Image.fromarray(upright)
    return np.asarray(
        picture.transform((side_px, side_px), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR),
        dtype=np.uint8,
    )


def place_face(
    landmarks_px: Floats,
    box_px: tuple[float, float, float, float] | None,
    template: Sequence[tuple[float, float]] = FER_TEMPLATE,
) -> Similarity:
    """Map a face onto the unit square of its crop; the arguments are those of `align_face`.

    Raises:
        ValueError: neither the landmarks nor a box say where the face is.
    """
    try:
        fitted = fit_landmarks(landmarks_px, template)
    except ValueError:
        if box_px is None:
            raise
        return _fit_box(box_px)
    return fitted if box_px is None or _is_plausible(fitted, box_px) else _fit_box(box_px)


def fit_landmarks(landmarks_px: Floats, template: Sequence[tuple[float, float]] = FER_TEMPLATE) -> Similarity:
    """Map a face's landmarks onto the template, in the unit square.

    Args:
        landmarks_px: shape (5, 2) as in `Face`.
        template: where they come to lie.

    Raises:
        ValueError: the points fall together, or are not finite.
    """
    return fit_similarity(np.asarray(landmarks_px, dtype=np.float64), np.asarray(template, dtype=np.float64))


def _is_plausible(fitted: Similarity, box_px: tuple[float, float, float, float]) -> bool:
    left, top, right, bottom = box_px
    size = max(bottom - top, right - left, 1e-6)
    side = 1 / max(abs(fitted.turn), 1e-9)
    centre = fitted.apply(np.array([(left + right) / 2, (top + bottom) / 2]))
    upright = abs(np.angle(fitted.turn)) < _LARGEST_ROLL
    return bool(_LEAST_SIDE < side / size < _MOST_SIDE and upright and np.all(np.abs(centre - 0.5) < 0.4))


def _fit_box(box_px: tuple[float, float, float, float]) -> Similarity:
    left, top, right, bottom = box_px
    side = _BOX_SIDE * max(right - left, bottom - top)
    if not np.isfinite(side) or side <= 0:
        raise ValueError("a face needs a box of positive size")
    corner = complex((left + right) / 2 - side / 2, top + _BOX_CENTRE_Y * (bottom - top) - side / 2)
    return Similarity(complex(1 / side), -corner / side)


def sample(pixels: Pixels, to_picture: Similarity, side_px: int) -> Pixels:
    """Read a square crop out of a picture bilinearly, averaging first where it shrinks a lot.

    Args:
        pixels: RGB uint8, shape (height, width, 3).
        to_picture: maps crop pixels to picture pixels; pixel centres lie at halves.
        side_px: side of the crop.

    Returns:
        RGB uint8, shape (side_px, side_px, 3); what lies outside the picture repeats its edge.
    """
    factor = max(1, int(abs(to_picture.turn) / _SMOOTH_FROM + 0.5))
    corners = to_picture.apply(np.array([[0, 0], [side_px, 0], [0, side_px], [side_px, side_px]], dtype=np.float64))
    left, top = (int(value) for value in np.floor(corners.min(axis=0)) - 2 * factor)
    right, bottom = (int(value) for value in np.ceil(corners.max(axis=0)) + 2 * factor)
    region = Image.fromarray(cut_region(pixels, left, top, right, bottom))
    if factor > 1:
        region = region.reduce(factor)
    turn, shift = to_picture.turn / factor, (to_picture.shift - complex(left, top)) / factor
    affine = (turn.real, -turn.imag, shift.real, turn.imag, turn.real, shift.imag)
    crop = region.transform((side_px, side_px), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    return np.asarray(crop, dtype=np.uint8)


def cut_region(pixels: Pixels, left: int, top: int, right: int, bottom: int) -> Pixels:
    """Cut a rectangle out of a picture; what lies outside repeats the picture's edge.

    Args:
        pixels: uint8, shape (height, width, 3).
        left: first column, may be negative.
        top: first row.
        right: column after the last one, greater than `left`.
        bottom: row after the last one.
    """
    height, width = pixels.shape[:2]
    x0, x1 = min(max(left, 0), width - 1), max(min(right, width), 1)
    y0, y1 = min(max(top, 0), height - 1), max(min(bottom, height), 1)
    inside = pixels[min(y0, y1 - 1) : max(y1, y0 + 1), min(x0, x1 - 1) : max(x1, x0 + 1)]
    above, beside = max(0, min(-top, bottom - top - 1)), max(0, min(-left, right - left - 1))
    below, after = bottom - top - above - inside.shape[0], right - left - beside - inside.shape[1]
    if not (above or beside or below or after):
        return np.ascontiguousarray(inside)
    return np.pad(inside, ((above, below), (beside, after), (0, 0)), mode="edge")
