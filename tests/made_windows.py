"""Small libraries whose every window a test writes itself."""

import numpy as np

from made_library import FIRST_S
from moodreel.labels import EMOTIONS
from moodreel.library.rows import Rows
from moodreel.library.schema import ALIKE_WIDTH
from moodreel.library.search import Library
from moodreel.library.store import Store


def make_file(number, **changes):
    values = np.full(7, 1 / 7)
    return {
        "file_id": f"{number:016x}",
        "key": f"{number:032x}",
        "path": f"/films/clip {number}.mp4",
        "folder": "/films",
        "name": f"clip {number}.mp4",
        "size_bytes": 1,
        "modified_s": FIRST_S,
        "content_hash": "0",
        "bundle": "made",
        "settings": "{}",
        "status": "ok",
        "reason": None,
        "duration_s": 10.0,
        "width_px": None,
        "height_px": None,
        "has_face": True,
        "has_voice": True,
        "n_people": 1,
        "label": "happy",
        "abstained": False,
        "confidence": 0.5,
        **{f"p_{emotion}": value for emotion, value in zip(EMOTIONS, values, strict=True)},
        "date_s": FIRST_S,
        "indexed_s": FIRST_S,
    } | changes


def make_window(number, start_s, end_s, probabilities, *, person=0, **changes):
    shares = dict.fromkeys(EMOTIONS, 0.0) | probabilities
    return {
        "file_id": f"{number:016x}",
        "person": person,
        "start_s": start_s,
        "end_s": end_s,
        **{f"p_{emotion}": shares[emotion] for emotion in EMOTIONS},
        **{f"{part}_{emotion}": None for part in ("face", "voice") for emotion in EMOTIONS},
        "face_state": "ok",
        "voice_state": "silent",
        "label": max(shares, key=shares.get),
        "confidence": max(shares.values()),
        "abstained": False,
        "face_weight": 1.0,
        "voice_weight": 0.0,
        "n_people": 1,
        "sound": None,
        "alike": [0.0] * ALIKE_WIDTH,
    } | changes


def make_person(number, person, appearance):
    return {
        "file_id": f"{number:016x}",
        "person": person,
        "first_s": 0.0,
        "last_s": 1.0,
        "on_screen_s": 1.0,
        "share": 0.5,
        "label": "happy",
        "confidence": 0.5,
        "abstained": False,
        **{f"p_{emotion}": 1 / 7 for emotion in EMOTIONS},
        "appearance": appearance,
    }


def write_library(folder, windows, files=(1,), people=(), **options):
    """Write a library of files, by number or as rows, and open it."""
    store = Store.open(folder, create=True)
    rows = [one if isinstance(one, dict) else make_file(one) for one in files]
    store.write("1of1", Rows.make(rows, windows, list(people)))
    return Library.open(folder, **options)
