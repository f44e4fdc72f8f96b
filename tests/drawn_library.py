"""A library of drawn faces with made-up answers, alike on every machine, for the page and its pictures.

Each film is drawn from a script of emotions, and its rows are made from the same script, so that what is found is seen.
"""

from __future__ import annotations

import calendar
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from media_files import silence, syllables, write_clip, write_sound
from moodreel.labels import EMOTIONS
from moodreel.library.alike_vector import SOUNDS
from moodreel.library.describe import Origin
from moodreel.library.rows import Rows
from moodreel.library.schema import ALIKE_WIDTH
from moodreel.library.store import Store

SIZE_PX = (320, 180)
RATE_HZ = 4
REDRAWN_EVERY = 2
"""Frames after which a face moves: drawing takes longer than writing."""
_DRAWN_PX = (960, 540)
_WALLS = ["#34506b", "#6b4a3a", "#3f5f4a", "#5b4a70", "#7a6a3a", "#3a6670", "#70404a"]
_SKINS = ["#f0c8a0", "#c68c5c", "#8d5a3a", "#e8b48a", "#a8744c"]
_HAIRS = ["#2a1c14", "#5a3a1c", "#b07c30", "#8a8a8a", "#401810"]


@dataclass(frozen=True)
class Film:
    """A file to be drawn.

    Attributes:
        name: with its folder.
        month: when it was recorded, as (year, month).
        script: emotions in the order in which they come, each for `beat_s`.
        people: how many faces are drawn.
        sound: `voice`, `laughter` or `none`; a name that ends in `.wav` has no picture.
    """

    name: str
    month: tuple[int, int]
    script: tuple[str, ...]
    people: int = 1
    sound: str = "voice"

    @property
    def is_sound(self) -> bool:
        return self.name.endswith(".wav")


BEAT_S = 3
FILMS = (
    Film("weddings/party's <b>.webm", (2024, 5), ("neutral", "happy", "surprise"), people=2, sound="laughter"),
    Film("weddings/toast.webm", (2024, 5), ("happy", "happy", "sad"), people=3),
    Film("interviews/first day.webm", (2024, 7), ("neutral", "fear", "neutral")),
    Film("interviews/second day.webm", (2024, 8), ("neutral", "angry", "sad")),
    Film("interviews/call.wav", (2024, 8), ("angry", "neutral")),
    Film("talks/opening.webm", (2024, 11), ("neutral", "surprise", "happy")),
    Film("talks/questions.webm", (2024, 11), ("disgust", "neutral", "angry"), people=2, sound="none"),
    Film("talks/closing.webm", (2024, 12), ("happy", "neutral")),
)
DAMAGED = "talks/damaged.mp4"


def write_drawn_library(folder: Path, films: tuple[Film, ...] = FILMS) -> Path:
    """Draw films into `folder/films` and write a library of them into `folder/lib`; returns the library's folder."""
    store = Store.open(folder / "lib", create=True)
    parts = [_write_film(folder / "films", film, number) for number, film in enumerate(films)]
    damaged = folder / "films" / DAMAGED
    damaged.parent.mkdir(parents=True, exist_ok=True)
    damaged.write_bytes(b"no media")
    failed = {"status": "failed", "reason": f"{damaged}: is not media"} | _whole(np.full((1, 7), 1 / 7), 0.0)
    parts.append(Rows.make([_origin(damaged).columns() | failed | {"date_s": 1.7e9}]))
    store.write("1of1", Rows.join(parts))
    return folder / "lib"


def _origin(path: Path) -> Origin:
    status = path.stat()
    return Origin(str(path), status.st_size, status.st_mtime, "made", "{}", content_hash=path.name)


def _write_film(folder: Path, film: Film, number: int) -> Rows:
    path = folder / film.name
    path.parent.mkdir(parents=True, exist_ok=True)
    seconds = BEAT_S * len(film.script)
    shares = make_shares(film, number)

    @cache
    def draw(place: int) -> np.ndarray:
        second = min(int(place * REDRAWN_EVERY / RATE_HZ), seconds - 1)
        return draw_faces(film, number, shares[second], place)

    sound = silence if film.sound == "none" else syllables(120 + 20 * number)
    if film.is_sound:
        write_sound(path, seconds, sound=sound)
    else:
        write_clip(
            path,
            seconds,
            size=SIZE_PX,
            rate=RATE_HZ,
            frames=lambda index: draw(index // REDRAWN_EVERY),
            video_codec="libvpx",
            audio_codec="libopus",
            audio_rate=48_000,
            sound=sound,
        )
    recorded_s = calendar.timegm((*film.month, 10 + number, 12, 0, 0))
    os.utime(path, (recorded_s, recorded_s))
    return _make_rows(_origin(path), film, shares, recorded_s)


def make_shares(film: Film, number: int) -> np.ndarray:
    """Return what each second shows: shape (n_seconds, 7), going over from one emotion of the script to the next."""
    random = np.random.default_rng(number)
    targets = np.full((BEAT_S * len(film.script), 7), 0.2) + random.uniform(0, 0.5, (1, 7))
    for beat, emotion in enumerate(film.script):
        rise = np.array([1.8, 3.6, 2.6]) + random.uniform(-0.3, 0.3, BEAT_S)
        targets[beat * BEAT_S : (beat + 1) * BEAT_S, EMOTIONS.index(emotion)] += rise
    shares = np.exp(targets)
    return shares / shares.sum(axis=1, keepdims=True)


def _whole(shares: np.ndarray, duration_s: float) -> dict[str, object]:
    mean = shares.mean(axis=0)
    return {
        "duration_s": duration_s,
        "has_face": False,
        "has_voice": False,
        "n_people": 0,
        "label": EMOTIONS[int(mean.argmax())],
        "abstained": False,
        "confidence": float(mean.max()),
        **_named("p", mean),
    }


def _named(prefix: str, values: np.ndarray) -> dict[str, float]:
    return {f"{prefix}_{name}": float(value) for name, value in zip(EMOTIONS, values, strict=True)}


def _make_rows(origin: Origin, film: Film, shares: np.ndarray, recorded_s: float) -> Rows:
    n_people = 0 if film.is_sound else film.people
    has_voice = film.sound == "voice"
    size = {} if film.is_sound else {"width_px": SIZE_PX[0], "height_px": SIZE_PX[1]}
    file = {
        **origin.columns(),
        **_whole(shares, float(len(shares))),
        **size,
        "status": "ok",
        "has_face": n_people > 0,
        "has_voice": has_voice,
        "n_people": n_people,
        "date_s": float(recorded_s),
    }
    windows = [
        {"file_id": origin.file_id, **_make_window(film, second, share, person)}
        for person in range(n_people + 1 if n_people > 1 else 1)
        for second, share in enumerate(shares)
    ]
    people = [_make_person(origin.file_id, person, shares) for person in range(1, n_people + 1)]
    return Rows.make([file], windows, people)


def _make_window(film: Film, second: int, share: np.ndarray, person: int) -> dict[str, object]:
    n_people = 0 if film.is_sound else film.people
    has_voice = film.sound == "voice" and not person
    shown = np.roll(share, person - 1) if person > 1 else share
    return {
        "person": person,
        "start_s": float(second),
        "end_s": float(second + 1),
        **_named("p", shown),
        **(_named("face", shown) if n_people else {}),
        **(_named("voice", shown) if has_voice else {}),
        "face_state": "ok" if n_people else "no_video_track",
        "voice_state": "ok" if has_voice else "no_speech",
        "label": EMOTIONS[int(shown.argmax())],
        "confidence": float(shown.max()),
        "abstained": bool(shown.max() < 0.3),
        "face_weight": float(n_people > 0),
        "voice_weight": float(has_voice),
        "n_people": n_people,
        "sound": "laughter" if film.sound == "laughter" and "laughter" in SOUNDS else None,
        "alike": [*np.log(shown).tolist(), *[0.0] * (ALIKE_WIDTH - len(shown))],
    }


def _make_person(file_id: str, person: int, shares: np.ndarray) -> dict[str, object]:
    whole = _whole(shares, float(len(shares)))
    told = {name: whole[name] for name in ("label", "abstained", "confidence", *_named("p", shares[0]))}
    seen = {"first_s": 0.0, "last_s": float(len(shares)), "on_screen_s": float(len(shares)), "share": 1.0}
    return {"file_id": file_id, "person": person, **seen, **told, "appearance": None}


def draw_faces(film: Film, number: int, share: np.ndarray, index: int) -> np.ndarray:
    """Draw a frame: faces before a wall, which show the likeliest emotion as much as it is likely."""
    image = Image.new("RGB", _DRAWN_PX, _WALLS[number % len(_WALLS)])
    pencil = ImageDraw.Draw(image)
    emotion, much = EMOTIONS[int(share.argmax())], float(share.max())
    for place in range(film.people):
        x = image.width * (place + 1) / (film.people + 1) + 6 * np.sin(index / 3 + place)
        looks = _SKINS[(number + place) % len(_SKINS)], _HAIRS[(number + 2 * place) % len(_HAIRS)]
        _draw_face(pencil, (x, image.height * 0.54 + 4 * np.cos(index / 2 + place)), looks, (emotion, much), index)
    return np.asarray(image.reduce(_DRAWN_PX[0] // SIZE_PX[0]))


_BROWS = {"angry": 14, "sad": -12, "fear": -10, "disgust": 8}
"""How far the inner ends of the brows stand below the outer ones."""
_SMILES = {"happy": 34, "sad": -26, "disgust": -16, "angry": -14}
"""How far the middle of the mouth hangs below its corners."""


def _draw_face(
    pencil: ImageDraw.ImageDraw, at: tuple[float, float], looks: tuple[str, str], mood: tuple[str, float], index: int
) -> None:
    (x, y), (skin, hair), (emotion, much) = at, looks, mood
    pencil.ellipse((x - 190, y + 165, x + 190, y + 500), fill=hair)
    pencil.ellipse((x - 124, y - 166, x + 124, y + 150), fill=hair)
    pencil.ellipse((x - 106, y - 130, x + 106, y + 150), fill=skin)
    wide = 1.0 + 0.5 * (emotion in ("surprise", "fear")) * much
    tilt, rise = _BROWS.get(emotion, 0) * much, 16 * (emotion in ("surprise", "fear")) * much
    for side in (-1, 1):
        eye = x + side * 44
        is_shut = index % 17 == 3
        height = 3 if is_shut else 13 * wide
        pencil.ellipse((eye - 19, y - 22 - height, eye + 19, y - 22 + height), fill="white")
        if not is_shut:
            pencil.ellipse((eye - 8, y - 30, eye + 8, y - 14), fill="#20140c")
        inner, outer = (eye - side * 26, y - 60 + tilt - rise), (eye + side * 26, y - 60 - tilt - rise)
        pencil.line((*inner, *outer), fill=hair, width=9)
    pencil.line((x, y - 10, x - 10, y + 32, x + 4, y + 34), fill="#00000050", width=4)
    _draw_mouth(pencil, x, y + 82, emotion, much, index)


def _draw_mouth(pencil: ImageDraw.ImageDraw, x: float, y: float, emotion: str, much: float, index: int) -> None:
    if emotion in ("surprise", "fear"):
        height = 10 + 26 * much
        pencil.ellipse((x - 24, y - height, x + 24, y + height), fill="#5c1f1f")
        return
    bend, opening = _SMILES.get(emotion, 0) * much, 5 + 5 * abs(np.sin(index))
    across = np.linspace(-1, 1, 25)
    upper = [(x + 52 * one, y + bend * (0.5 - one**2)) for one in across]
    lower = [(x + 52 * one, y + bend * (0.5 - one**2) + opening * (1 - one**2) + 3) for one in across[::-1]]
    pencil.polygon(upper + lower, fill="#7c2a2a")
