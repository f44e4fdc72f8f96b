"""A corpus of tiny clips that a tiny network can tell apart, and stand-ins for what would take long."""

import numpy as np

from media_files import syllables, tone, write_clip, write_sound
from moodreel.labels import EMOTIONS
from moodreel.voice.functionals import N_FUNCTIONALS

SPEAKERS = ("ann", "bob", "cem", "dag", "eva", "fay")
TINY = (
    "frames.framing=whole",
    "frames.side_px=16",
    "frames.rate_hz=5",
    "video.weights=none",
    "video.width=4",
    "video.layers=3",
    "audio.dense=[8, 8, 8]",
    "head.dense=[8, 8, 8]",
    "fit.ensemble=1",
)


def changes_for(recipe):
    """Return the changes that make a shipped recipe tiny, without parts it does not have."""
    lacks = {"audio": ("frames", "video"), "video": ("audio",)}.get(recipe, ())
    return tuple(change for change in TINY if change.partition(".")[0] not in lacks)


def write_corpus(folder, speakers=SPEAKERS, seconds=0.6):
    """Write one clip a speaker and emotion: brightness and pitch tell the emotion."""
    for row, emotion in enumerate(EMOTIONS):
        for column, speaker in enumerate(speakers):
            (folder / emotion).mkdir(parents=True, exist_ok=True)
            picture = np.full((16, 16, 3), 20 + 30 * row + column, np.uint8)
            path = folder / emotion / f"{speaker}_{emotion}.mp4"
            write_clip(
                path,
                seconds,
                size=(16, 16),
                rate=5,
                frames=lambda _, p=picture: p,
                sound=tone(200 + 150 * row + 9 * column),
            )
    return folder


def stand_in_functionals(samples):
    """Stand in for openSMILE: 1582 numbers that depend on the sound."""
    spectrum = np.abs(np.fft.rfft(samples, 4096))[:N_FUNCTIONALS]
    return np.log1p(spectrum).astype(np.float32)


CALLERS = ("ann", "bob", "cem", "dag")
PITCHES_HZ = {"angry": 500, "disgust": 250, "fear": 120}


def write_voices(folder, speakers=CALLERS, telling=True):
    """Write two voices a speaker and emotion: the pitch tells the emotion, or only the speaker."""
    for emotion, pitch_hz in PITCHES_HZ.items():
        (folder / emotion).mkdir(parents=True, exist_ok=True)
        for number, speaker in enumerate(speakers):
            for take in range(2):
                own_hz = (pitch_hz if telling else 150) + 6 * number + 3 * take
                write_sound(folder / emotion / f"{speaker}_{take}.wav", 1.5 + 0.1 * take, sound=syllables(own_hz))
    return folder
