"""Scenes that a detector is taught on: pictures at any size, on other pictures, turned, blurred, dark, covered.

Nobody labels them: the teacher is asked what it finds in each.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from moodreel.training.detector.pictures import Collection, Pixels, encode

SHAPES = ((192, 320), (256, 320), (320, 320), (320, 192))
"""Heights and widths of scenes: wide films, television, squares, phones."""
_MOST_PASTED = 5
_PASTED_PX = (20.0, 300.0)
_LEAST_SIDE_PX = 8

Rng = np.random.Generator


def draw_scene(pictures: Collection, shape: tuple[int, int], rng: Rng) -> Pixels:
    """Draw a scene.

    Args:
        pictures: what it is made of.
        shape: height and width.
        rng: decides everything.

    Returns:
        RGB uint8, shape (height, width, 3).
    """
    kind = rng.random()
    scene = _draw_background(pictures, shape, rng) if kind < 0.55 else Image.new("RGB", shape[::-1])
    if kind < 0.45:
        for _ in range(int(rng.integers(1, _MOST_PASTED + 1))):
            _paste(scene, _pick(pictures, rng), float(np.exp(rng.uniform(*np.log(_PASTED_PX)))), rng)
    elif kind >= 0.55:
        _fill(scene, _pick(pictures, rng), rng)
    return _spoil(scene, rng)


def _pick(pictures: Collection, rng: Rng) -> Image.Image:
    return Image.fromarray(pictures.draw(rng))


def _fill(scene: Image.Image, picture: Image.Image, rng: Rng) -> None:
    """Put one picture over the scene, at a size of its own."""
    zoom = max(scene.width / picture.width, scene.height / picture.height) * float(np.exp(rng.uniform(-0.9, 0.5)))
    turned = _turn(_resize(picture, zoom), rng)
    scene.paste(turned, _place(scene, turned, rng))


def _paste(scene: Image.Image, picture: Image.Image, long_side_px: float, rng: Rng) -> None:
    small = _turn(_resize(picture, long_side_px / max(picture.size)), rng)
    mask = _soften(small.size, rng)
    scene.paste(small, _place(scene, small, rng), mask)


def _place(scene: Image.Image, part: Image.Image, rng: Rng) -> tuple[int, int]:
    """Where a part goes: its middle lies within the scene."""
    left, top = (int(rng.uniform(0, size)) - own // 2 for size, own in zip(scene.size, part.size, strict=True))
    if part.width >= scene.width and part.height >= scene.height:
        left = -int(rng.integers(part.width - scene.width + 1))
        top = -int(rng.integers(part.height - scene.height + 1))
    return left, top


def _resize(picture: Image.Image, zoom: float) -> Image.Image:
    width, height = (max(_LEAST_SIDE_PX, round(side * zoom)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)


def _turn(picture: Image.Image, rng: Rng) -> Image.Image:
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.4:
        reach = 60.0 if rng.random() < 0.3 else 20.0
        grey = tuple(int(value) for value in rng.integers(0, 256, 3))
        picture = picture.rotate(float(rng.uniform(-reach, reach)), Image.Resampling.BILINEAR, fillcolor=grey)
    return picture


def _soften(size: tuple[int, int], rng: Rng) -> Image.Image:
    """A mask with soft edges, or none to speak of."""
    mask = np.full((size[1], size[0]), 255, np.uint8)
    edge = int(min(size) * rng.uniform(0, 0.12))
    if edge:
        mask[:edge], mask[-edge:], mask[:, :edge], mask[:, -edge:] = 0, 0, 0, 0
        return Image.fromarray(mask).filter(ImageFilter.GaussianBlur(edge))
    return Image.fromarray(mask)


def _draw_background(pictures: Collection, shape: tuple[int, int], rng: Rng) -> Image.Image:
    """A part of a picture blown up, or a made texture; what faces lie in it the teacher finds."""
    if rng.random() < 0.6:
        picture = _pick(pictures, rng)
        scene = Image.new("RGB", shape[::-1])
        zoom = max(shape[1] / picture.width, shape[0] / picture.height) * float(rng.uniform(1.0, 4.0))
        large = _resize(picture, zoom)
        scene.paste(large, _place(scene, large, rng))
        return scene
    return Image.fromarray(_draw_texture(shape, rng))


def _draw_texture(shape: tuple[int, int], rng: Rng) -> Pixels:
    """Noise of a falling spectrum, stripes and blobs in a few colours."""
    height, width = shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]) + 1 / max(shape)
    spectrum = rng.normal(size=(3, *frequency.shape)) + 1j * rng.normal(size=(3, *frequency.shape))
    noise = np.fft.irfft2(spectrum / frequency ** rng.uniform(0.5, 2.0), s=shape)
    noise /= noise.std(axis=(1, 2), keepdims=True) + 1e-9
    if rng.random() < 0.4:  # flat areas with sharp edges
        noise = np.sign(noise) * rng.uniform(0.3, 1.2)
    levels = rng.uniform(40, 215, (3, 1, 1)) + rng.uniform(5, 70) * noise
    return np.clip(levels, 0, 255).astype(np.uint8).transpose(1, 2, 0)


def _spoil(scene: Image.Image, rng: Rng) -> Pixels:
    """Blur, darken, cover, compress: what cameras, lamps, hands and networks do to a picture."""
    if rng.random() < 0.2:
        scene = scene.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 2.0))))
    values = np.asarray(scene, np.float32)
    values = _relight(values, rng)
    if rng.random() < 0.25:
        values += rng.normal(0, rng.uniform(2, 18), values.shape).astype(np.float32)
    if rng.random() < 0.25:
        _cover(values, rng)
    pixels = np.clip(values, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        kept = encode(pixels, int(rng.integers(15, 85)))
        pixels = np.array(Image.open(io.BytesIO(kept)).convert("RGB"))
    return pixels


def _relight(values: npt.NDArray[np.float32], rng: Rng) -> npt.NDArray[np.float32]:
    if rng.random() < 0.15:
        values = np.repeat(values.mean(axis=2, keepdims=True), 3, axis=2)
    if rng.random() < 0.6:
        gamma, gain = np.exp(rng.uniform(-0.5, 0.5)), rng.uniform(0.35, 1.25, 1) * rng.uniform(0.9, 1.1, 3)
        values = 255 * (values / 255) ** gamma * gain
    return values.astype(np.float32)


def _cover(values: npt.NDArray[np.float32], rng: Rng) -> None:
    height, width = values.shape[:2]
    for _ in range(int(rng.integers(1, 4))):
        h, w = (int(side * rng.uniform(0.05, 0.3)) for side in (height, width))
        top, left = int(rng.integers(height - h)), int(rng.integers(width - w))
        values[top : top + h, left : left + w] = rng.uniform(0, 255, 3)
