"""Measure `predict`: time against pure decoding of the same file, per stage, cold start, and memory against length.

    python benchmarks/predict_speed.py [--clip FILE] [--runs N] [--minutes 30]

Without --clip it makes a 720p clip with one face. Prints Markdown; docs/benchmarks.md holds what it printed.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import av
import numpy as np

from moodreel import Recognizer, __version__
from moodreel.cli.demo_clip import pan_portrait, synthesise_voice
from moodreel.face.detector import FaceDetector
from moodreel.face.tracking import ANALYSIS_LONG_SIDE_PX, ANALYSIS_RATE_HZ, FaceTracker
from moodreel.media.clip import open_clip
from moodreel.media.frames import Frame
from moodreel.media.read_ahead import read_ahead
from moodreel.voice.listener import VoiceListener

RATE_HZ = 30
CHILD = """
import json, resource, sys, time
start = time.perf_counter()
from moodreel import Recognizer
prediction = Recognizer.load("default").predict(sys.argv[1])
print(json.dumps({"s": time.perf_counter() - start,
                  "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "label": prediction.label}))
"""


def main() -> None:
    """Run everything and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", type=Path, help="a clip to measure on; made when not given")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--busy", action="store_true", help="time stages by the processor: the machine is not free")
    parser.add_argument("--minutes", type=float, default=30.0, help="length of the long video of the memory part")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip = options.clip or write_clip(Path(folder) / "one-face-720p.mp4", seconds=10, size=(1280, 720))
        print(f"{platform.machine()}, {cpu_name()}, {date.today()}, moodreel {__version__}, commit {commit()}\n")
        print_stages(clip, options.runs, options.busy)
        print_cold_start(clip if options.clip else write_clip(Path(folder) / "4s.mp4", 4, (1280, 720)), options.runs)
        print_memory(Path(folder), options.minutes)


def print_stages(clip: Path, runs: int, busy: bool) -> None:
    """Time pure decoding and each stage added to it; on a busy machine in processor time, of all threads together."""
    seconds = decode(clip)
    recognizer = Recognizer.load("default")
    voice, detector = recognizer.bundle.session("voice", 2), FaceDetector()
    stages: dict[str, Callable[[], object]] = {
        "decode with PyAV, nothing else": lambda: decode(clip),
        "decode, sample and scale": lambda: consume(clip, None, None),
        "+ voice": lambda: consume(clip, voice, None),
        "+ faces found, tracked, cut out": lambda: consume(clip, voice, detector),
        "`Recognizer.predict`, all of it": lambda: recognizer.predict(clip),
    }
    times = measure_by_turns(stages, runs, time.process_time if busy else time.perf_counter)
    base = times["decode with PyAV, nothing else"]
    print(f"{clip.name}, {seconds:.1f} s, median of {runs} runs, model loaded{', processor time' if busy else ''}:\n")
    print("| stage | s | ms per s of clip | x pure decoding | x real time |\n|---|---|---|---|---|")
    for name, taken in times.items():
        print(f"| {name} | {taken:.3f} | {1000 * taken / seconds:.0f} | {taken / base:.2f} | {seconds / taken:.1f} |")


def print_cold_start(clip: Path, runs: int) -> None:
    """Time the command line from a cold start."""
    command = [sys.executable, "-m", "moodreel"]
    print(f"\n| command, new process | s, median of {runs} |\n|---|---|")
    for name, arguments in (("moodreel --help", ["--help"]), (f"moodreel predict {clip.name}", ["predict", str(clip)])):
        run = [*command, *arguments]
        taken = measure(lambda run=run: subprocess.run(run, check=True, capture_output=True), runs)
        print(f"| `{name}` | {taken:.2f} |")


def print_memory(folder: Path, minutes: float) -> None:
    """Compare peak memory of a long video with that of a minute."""
    short = write_clip(folder / "loop.mp4", seconds=10, size=(640, 360))
    print("\n| video, 640x360, one face | peak memory, MB | s |\n|---|---|---|")
    peaks = []
    for length in (1.0, minutes):
        video = repeat_clip(short, folder / f"{length:g}min.mp4", times=round(length * 6))
        done = subprocess.run([sys.executable, "-c", CHILD, str(video)], check=True, capture_output=True, text=True)
        figures = json.loads(done.stdout)
        peaks.append(figures["mb"])
        print(f"| {length:g} min | {figures['mb']:.0f} | {figures['s']:.1f} |")
    print(f"\n{minutes:g} min takes {peaks[1] / peaks[0] - 1:+.1%} of the memory of 1 min.")


def measure_by_turns(
    stages: dict[str, Callable[[], object]], runs: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Return the median time of each call in seconds; they take turns, so that a busy moment hits them all alike."""
    times: dict[str, list[float]] = {name: [] for name in stages}
    for turn in range(runs + 1):
        for name, run in stages.items():
            start = clock()
            run()
            if turn:  # the first one warms up
                times[name].append(clock() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def measure(run: Callable[[], object], runs: int) -> float:
    """Return the median time of a call in seconds, after one to warm up."""
    return measure_by_turns({"": run}, runs)[""]


def decode(clip: Path) -> float:
    """Decode picture and sound with PyAV as fast as it can; return the length in seconds."""
    end_s = 0.0
    with av.open(str(clip)) as container:
        for stream in (*container.streams.video, *container.streams.audio):
            stream.thread_type = "AUTO"
        for frame in container.decode():
            end_s = max(end_s, frame.time or 0.0)
    return end_s


def consume(clip: Path, voice: Any, detector: FaceDetector | None) -> None:
    """Run the stages of predicting before the expression network, as `Recognizer.predict` does."""
    listener = VoiceListener(voice) if voice else None
    with open_clip(clip) as opened:
        stream = opened.stream(longest_side_px=ANALYSIS_LONG_SIDE_PX, frames_rate_hz=ANALYSIS_RATE_HZ)
        with read_ahead(stream) as items:
            frames = (item for item in items if isinstance(item, Frame) or (listener and listener.listen(item)))
            for _ in FaceTracker(detector).track(frames) if detector else frames:
                pass
    if listener:
        listener.finish()


def write_clip(path: Path, seconds: int, size: tuple[int, int]) -> Path:
    """Write a clip of one moving face with a voice, h264 and aac at 30 frames per second."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE_HZ, options={"preset": "fast", "crf": "21"})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        sound = container.add_stream("aac", rate=16_000, layout="mono")
        for picture in pan_portrait(seconds * RATE_HZ, size):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        samples = np.resize(synthesise_voice(), seconds * 16_000)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16_000, 0
        container.mux([*sound.encode(frame), *sound.encode(None)])
    return path


def repeat_clip(source: Path, path: Path, times: int) -> Path:
    """Write a clip several times over, packet by packet, without encoding anew."""
    with av.open(str(path), "w") as out:
        streams, length_s = {}, 0.0
        for turn in range(times):
            with av.open(str(source)) as clip:
                if not streams:
                    streams = {stream.index: out.add_stream_from_template(stream) for stream in clip.streams}
                    length_s = clip.duration / 1e6 + 0.1  # the sound is longer than the picture by a codec frame or two
                for packet in clip.demux():
                    if packet.dts is None:
                        continue
                    shift = round(turn * length_s / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = streams[packet.stream.index]
                    out.mux(packet)
    return path


def cpu_name() -> str:
    """Return the processor's name and the number of its cores."""
    import os

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def commit() -> str:
    """Return the short hash of the checked-out commit."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], check=False, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
