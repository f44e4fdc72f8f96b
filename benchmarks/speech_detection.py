"""How much real speech is refused as no speech, and how much other sound is.

    python benchmarks/speech_detection.py RAVDESS NEMO [--clips 300] [--real FOLDER]

RAVDESS and NEMO are folders of those corpora, FOLDER one of recordings without speech. Every figure goes through
`VoiceListener`, as a clip and as the 2 s windows of a live stream. The bounds in `moodreel.voice.speech_signs` were
chosen on the speakers called "chosen on"; the figures that count are those of the others. Prints Markdown.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from moodreel.corpora.files import find_clips
from moodreel.labels import N_EMOTIONS
from moodreel.media.clip import open_clip
from moodreel.media.sounds import Sound
from moodreel.timeline import WINDOW_S
from moodreel.training.voice import augment
from moodreel.voice.listener import VoiceListener
from moodreel.voice.speech import RATE_HZ, Float32, extract_speech

Maker = Callable[[int, Generator], npt.NDArray[Any]]
RATIOS_DB = (10, 0)
N_NOISES = 60
LEAST_SPOKEN_S = 0.5
"""A live window with less speech than this is not counted: it may rightly be called anything."""


class AnyVoice:
    """A voice network that answers everything alike."""

    def run(self, _names: Sequence[str], inputs: Mapping[str, Float32]) -> list[Float32]:
        """Answer with zeros."""
        rows = len(inputs["pooling"])
        return [np.zeros((rows, N_EMOTIONS), np.float32), np.zeros(rows, np.float32)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ravdess", type=Path)
    parser.add_argument("nemo", type=Path)
    parser.add_argument("--clips", type=int, default=300, help="how many clips of each corpus")
    parser.add_argument("--real", type=Path, help="a folder of recordings without speech")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    speech = [*read_some(options.ravdess, options.clips, rng), *read_some(options.nemo, options.clips, rng)]
    print_speech(speech, rng)
    print_others(rng)
    for path in find_clips(options.real) if options.real else ():
        print(f"{path.name}: {'speech' if is_heard(read_sound(path)) else 'no speech'}")


def read_some(folder: Path, n_clips: int, rng: Generator) -> list[tuple[str, Float32]]:
    """Read clips of a corpus at random: speaker and sound; nEMO names the speaker first, RAVDESS by folder."""
    paths = find_clips(folder)
    chosen = (paths[int(index)] for index in rng.permutation(len(paths))[:n_clips])
    return [
        (path.parent.name if path.parent.name.startswith("Actor") else path.name[:3], read_sound(path))
        for path in chosen
    ]


def read_sound(path: Path) -> Float32:
    """Decode as predicting does."""
    with open_clip(path) as clip:
        items = clip.stream(longest_side_px=640, frames_rate_hz=0)
        return np.concatenate([item.samples for item in items if isinstance(item, Sound)])


def is_heard(sound: Float32) -> bool:
    """Tell whether anything of a clip reaches the answer."""
    listener = VoiceListener(AnyVoice())  # type: ignore[arg-type]  # the listener calls `run` alone
    listener.listen(Sound(0.0, sound))
    return bool(listener.finish().utterances)


def print_speech(speech: Sequence[tuple[str, Float32]], rng: Generator) -> None:
    """Print the share of speech that is refused, by what was done to it."""
    speakers = sorted({speaker for speaker, _ in speech})
    tuned = set(speakers[::2])
    lost: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for speaker, sound in speech:
        half = "chosen on" if speaker in tuned else "others"
        spoken = extract_speech(sound[: 8 * RATE_HZ]).active
        for name, heard in degrade(sound, speech, rng):
            lost[name][f"clip, {half}"].append(not is_heard(heard))
            lost[name][f"2 s, {half}"] += [not is_heard(window) for window in cut_windows(heard, spoken)]
    columns = [f"{kind}, {half}" for kind in ("clip", "2 s") for half in ("chosen on", "others")]
    print(f"{len(speech)} clips of {len(speakers)} speakers; refused, % (of how many):\n")
    print("| speech |" + "".join(f" {column} |" for column in columns) + "\n|---" + "|---" * len(columns) + "|")
    for name, by_column in lost.items():
        shares = (f" {np.mean(by_column[column]):.2%} ({len(by_column[column])}) |" for column in columns)
        print(f"| {name} |" + "".join(shares))


def degrade(sound: Float32, speech: Sequence[tuple[str, Float32]], rng: Generator) -> Iterator[tuple[str, Float32]]:
    """Yield a clip as it is, as it comes from elsewhere, and under backgrounds."""
    yield "clean", sound
    yield "room", augment.add_room(sound, 0.7, 1.0, rng)
    yield "telephone", augment.limit_band(sound, *augment.PHONE_BAND_HZ)
    yield "codec", augment.drop_quiet_bins(augment.limit_band(sound, 0, augment.CODEC_TOPS_HZ[0]), 25)
    others = [speech[int(index)][1] for index in rng.choice(len(speech), 4)]
    backgrounds = {
        "noise": augment.make_noise(len(sound), rng),
        "white noise": make_white(len(sound), rng),
        "music": augment.make_music(len(sound), rng),
        "babble": augment.make_babble(others, len(sound), rng),
        "hum": make_hum(len(sound), rng),
    }
    for ratio_db in RATIOS_DB:
        for name, background in backgrounds.items():
            yield f"{name}, {ratio_db} dB", augment.mix_sound(sound, background.astype(np.float32), ratio_db)


def cut_windows(sound: Float32, spoken: npt.NDArray[np.bool_]) -> Iterator[Float32]:
    """Yield the windows of a live stream that hold speech, given the tokens at which the clean sound does."""
    length = round(WINDOW_S * RATE_HZ)
    for start in range(0, max(len(sound) - length, 0) + 1, length // 2):
        tokens = spoken[start // 320 : (start + length) // 320]
        if tokens.sum() * 0.02 >= LEAST_SPOKEN_S:
            yield sound[start : start + length]


def print_others(rng: Generator) -> None:
    """Print the share of other sound that is refused, by kind."""
    print(f"\n{N_NOISES} sounds of each kind, of 2-8 s, over hiss of -25 to -60 dB; refused:\n")
    print("| sound | clip | its first 2 s |\n|---|---|---|")
    for name, make in OTHERS.items():
        refused = []
        for _ in range(N_NOISES):
            sound = make(int(rng.uniform(2, 8) * RATE_HZ), rng)
            sound = sound / max(float(np.abs(sound).max()), 1e-9)
            hiss_db = 20 * np.log10(max(float(np.sqrt((sound**2).mean())), 1e-9)) + rng.uniform(-60, -25)
            heard = (0.3 * (sound + 10 ** (hiss_db / 20) * rng.standard_normal(len(sound)))).astype(np.float32)
            refused.append((not is_heard(heard), not is_heard(heard[: round(WINDOW_S * RATE_HZ)])))
        whole, window = np.mean(refused, axis=0)
        print(f"| {name} | {whole:.0%} | {window:.0%} |")


def sum_harmonics(pitch_hz: float, n_samples: int, n_harmonics: int, rng: Generator) -> npt.NDArray[np.float64]:
    """Add harmonics of random strength, weaker upwards."""
    numbers = np.arange(1, n_harmonics + 1)
    numbers = numbers[numbers * pitch_hz < RATE_HZ / 2]
    strengths = rng.uniform(0.2, 1, len(numbers)) * numbers ** -rng.uniform(0.3, 2)
    phases = rng.uniform(0, 2 * np.pi, len(numbers))
    times_s = np.arange(n_samples) / RATE_HZ
    total = np.zeros(n_samples)
    for number, strength, phase in zip(numbers, strengths, phases, strict=True):
        total += strength * np.sin(2 * np.pi * pitch_hz * number * times_s + phase)
    return total


def make_tone(n_samples: int, rng: Generator) -> npt.NDArray[np.float64]:
    """Make a pure tone of 100-6000 Hz."""
    return sum_harmonics(100 * 60 ** rng.random(), n_samples, 1, rng)


def make_hum(n_samples: int, rng: Generator) -> npt.NDArray[np.float64]:
    """Make the hum of mains."""
    return sum_harmonics(float(rng.choice([50, 60])), n_samples, 40, rng)


def make_organ(n_samples: int, rng: Generator) -> npt.NDArray[np.float64]:
    """Make one held note of 80-800 Hz."""
    return sum_harmonics(80 * 10 ** rng.random(), n_samples, 12, rng)


def make_chord(n_samples: int, rng: Generator) -> npt.NDArray[np.float64]:
    """Make a held major triad."""
    root_hz = rng.uniform(100, 400)
    return np.asarray(sum(sum_harmonics(root_hz * 2 ** (step / 12), n_samples, 8, rng) for step in (0, 4, 7)))


def make_beeps(n_samples: int, rng: Generator) -> npt.NDArray[np.float64]:
    """Make a tone that goes on and off one to five times per second."""
    period = RATE_HZ / rng.uniform(0.8, 5)
    gate = (np.arange(n_samples) % period) < period * rng.uniform(0.3, 0.7)
    return make_tone(n_samples, rng) * np.convolve(gate, np.hanning(160) / 80, "same")


def make_melody(n_samples: int, rng: Generator) -> npt.NDArray[np.float64]:
    """Make decaying notes, one to five per second."""
    melody = np.zeros(n_samples)
    root_hz, decay, n_harmonics = rng.uniform(130, 500), rng.uniform(1.5, 8), int(rng.integers(1, 9))
    for start in np.arange(0, n_samples, RATE_HZ / rng.uniform(1, 5)).astype(int):
        n_left = min(n_samples - start, RATE_HZ)
        note = sum_harmonics(root_hz * 2 ** (rng.choice([0, 2, 4, 5, 7, 9, 11, 12]) / 12), n_left, n_harmonics, rng)
        times_s = np.arange(n_left) / RATE_HZ
        melody[start : start + n_left] += note * np.exp(-decay * times_s) * np.minimum(times_s / 0.008, 1)
    return melody


def make_three_notes(n_samples: int, rng: Generator) -> npt.NDArray[np.float64]:
    """Make a jingle of three pure tones."""
    melody = np.zeros(n_samples)
    for index, step in enumerate((0, 4, 7)):
        start = min(int(index * 0.6 * RATE_HZ), n_samples)
        times_s = np.arange(n_samples - start) / RATE_HZ
        melody[start:] += np.sin(2 * np.pi * 440 * 2 ** (step / 12) * times_s) * np.exp(-rng.uniform(2, 6) * times_s)
    return melody


def make_white(n_samples: int, rng: Generator) -> npt.NDArray[np.float64]:
    """Make white noise."""
    return rng.standard_normal(n_samples)


def shape_noise(n_samples: int, gain: Callable[[npt.NDArray[Any]], Any], rng: Generator) -> npt.NDArray[np.float64]:
    """Filter white noise by a gain over frequency in Hz."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    return np.fft.irfft(spectrum * gain(np.maximum(np.fft.rfftfreq(n_samples, 1 / RATE_HZ), 50)), n_samples)


def make_pink(n_samples: int, rng: Generator) -> npt.NDArray[np.float64]:
    """Make pink noise."""
    return shape_noise(n_samples, lambda hz: hz**-0.5, rng)


def make_fan(n_samples: int, rng: Generator) -> npt.NDArray[np.float64]:
    """Make resonant noise, fluttering with the blades, over a faint hum."""
    peaks = [(rng.uniform(80, 3000), rng.uniform(60, 800)) for _ in range(4)]
    noise = shape_noise(n_samples, lambda hz: sum(1 / (1 + ((hz - at) / width) ** 2) for at, width in peaks), rng)
    flutter = 1 + rng.uniform(0, 0.5) * np.sin(2 * np.pi * rng.uniform(5, 25) * np.arange(n_samples) / RATE_HZ)
    return noise / noise.std() * flutter + rng.uniform(0, 1) * sum_harmonics(rng.uniform(60, 200), n_samples, 6, rng)


def make_clicks(n_samples: int, rng: Generator) -> npt.NDArray[np.float64]:
    """Make clicks at random moments, one to eight a second, the first at once."""
    rate_hz = rng.uniform(1, 8)
    starts = np.cumsum([0, *rng.exponential(RATE_HZ / rate_hz, int(rate_hz * n_samples / RATE_HZ))]).astype(int)
    return _add_bursts(n_samples, starts, lambda: rng.uniform(2, 40), 0, rng)


def make_steps(n_samples: int, rng: Generator) -> npt.NDArray[np.float64]:
    """Make steps, heel and toe, two per second."""
    heels = np.arange(0, n_samples, RATE_HZ / rng.uniform(1.4, 2.6)).astype(int)
    starts = np.sort(np.concatenate([heels, heels + int(rng.uniform(0.06, 0.12) * RATE_HZ)]))
    tilt = rng.uniform(0.3, 1)
    return _add_bursts(n_samples, starts, lambda: rng.uniform(160, 480), tilt, rng)


def make_applause(n_samples: int, rng: Generator) -> npt.NDArray[np.float64]:
    """Make forty to three hundred claps a second."""
    starts = rng.integers(0, n_samples, int(n_samples / RATE_HZ * rng.uniform(40, 300)))
    return _add_bursts(n_samples, starts, lambda: rng.uniform(20, 60), 0, rng)


def _add_bursts(
    n_samples: int, starts: npt.NDArray[Any], decay: Callable[[], float], tilt: float, rng: Generator
) -> npt.NDArray[np.float64]:
    """Add bursts of noise that decay over `decay` samples each."""
    total = np.zeros(n_samples + 2400)
    for start in starts[starts < n_samples]:
        burst = shape_noise(2400, lambda hz: hz**-tilt, rng) * np.exp(-np.arange(2400) / decay())
        total[start : start + 2400] += rng.uniform(0.4, 1) * burst / np.abs(burst).max()
    return total[:n_samples]


def make_siren(n_samples: int, rng: Generator) -> npt.NDArray[np.float64]:
    """Make a tone with a harmonic that glides up and down."""
    times_s = np.arange(n_samples) / RATE_HZ
    pitch_hz, rate_hz = rng.uniform(500, 900), rng.uniform(0.2, 3)
    phase = 2 * np.pi * pitch_hz * times_s + pitch_hz * 0.35 / rate_hz * np.sin(2 * np.pi * rate_hz * times_s)
    return np.asarray(np.sin(phase) + 0.4 * np.sin(3 * phase))


OTHERS: dict[str, Maker] = {
    "pure tone": make_tone,
    "mains hum": make_hum,
    "held note": make_organ,
    "held chord": make_chord,
    "beeps": make_beeps,
    "melody of decaying notes": make_melody,
    "three decaying tones": make_three_notes,
    "white noise": make_white,
    "pink noise": make_pink,
    "fan": make_fan,
    "clicks": make_clicks,
    "steps": make_steps,
    "applause": make_applause,
    "silence with hiss": lambda n_samples, _rng: np.zeros(n_samples),
    "`augment.make_noise`": augment.make_noise,
    "`augment.make_music`": augment.make_music,
    "`augment.make_laughter` (people, not music)": augment.make_laughter,
    "siren": make_siren,
}

if __name__ == "__main__":
    main()
