"""A small library of drawn clips that tests of its server and page share: faces, voices, files that have gone."""

import os

import numpy as np

from conftest import chirp
from media_files import silence, write_clip, write_sound
from moodreel.cli.demo_clip import pan_portrait
from moodreel.library.index import index_media
from moodreel.library.store import Store
from moodreel.recognition.recognizer import Recognizer

MAY_S, JUNE_S = 1_715_000_000, 1_718_000_000
VP8 = {"video_codec": "libvpx", "audio_codec": "libopus", "audio_rate": 48_000}


def write_filmed_library(folder, bundle):
    """Write films into `folder/films` and a library of them into `folder/lib`; returns the library's folder.

    `weddings/party's <b>.webm` shows a face for six of eight seconds and has a voice, `talks/speech.wav` is a voice,
    `talks/face.webm` a face without sound, `talks/damaged.mp4` is no media.
    """
    films = folder / "films"
    for name in ("weddings", "talks"):
        (films / name).mkdir(parents=True)
    faces = [np.asarray(frame) for frame in pan_portrait(40, (320, 240))]
    grey = np.full((240, 320, 3), 128, np.uint8)
    party = films / "weddings" / "party's <b>.webm"
    write_clip(party, 8, size=(320, 240), frames=lambda i: faces[i % 40] if i < 60 else grey, sound=chirp, **VP8)
    write_sound(films / "talks" / "speech.wav", 4, sound=chirp)
    write_clip(films / "talks" / "face.webm", 3, size=(320, 240), frames=lambda i: faces[i], sound=silence, **VP8)
    (films / "talks" / "damaged.mp4").write_bytes(b"no media")
    for path in (films / "weddings").iterdir():
        os.utime(path, (MAY_S, MAY_S))
    for path in (films / "talks").iterdir():
        os.utime(path, (JUNE_S, JUNE_S))
    store = Store.open(folder / "lib", create=True)
    index_media([str(films)], store, Recognizer.promise(bundle, threads=1))
    return folder / "lib"
