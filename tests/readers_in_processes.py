"""What worker processes of tests import."""

import os
import time
from pathlib import Path

from moodreel.batch.clips import Parts
from moodreel.errors import OutputError
from moodreel.recognition.recognizer import Recognizer


def name_of(sample):
    """A clip's name, a little later the earlier it is."""
    time.sleep(0.05 if sample.clip_id == "0" else 0)
    return sample.clip_id


def crash_at_three(sample):
    """As hostile media may end a decoder; others are noted."""
    if sample.clip_id == "3":
        os.kill(os.getpid(), 9)
    return sample.clip_id


def crash_once_at_three(sample):
    """As a machine that runs out of memory ends whoever asks next."""
    if sample.clip_id == "3":
        marker = Path(sample.path) / f"death {len(list(Path(sample.path).iterdir()))}"
        if not marker.name.endswith("1"):
            marker.touch()
            os.kill(os.getpid(), 9)
    return sample.clip_id


def note_deaths(sample):
    """Leave a file for each try, then end the process."""
    (Path(sample.path) / f"{sample.clip_id} {os.getpid()}").touch()
    os.kill(os.getpid(), 9)


def slow_at_zero(number):
    time.sleep(1 if number == 0 else 0)
    return number


def say_who(number):
    print(os.getpid(), flush=True)
    time.sleep(60)


def raise_odd(number):
    class OddError(Exception):
        pass

    raise OddError("no pickle holds this")


def fail_at_three(sample):
    if sample.clip_id == "3":
        raise OutputError("the disk is full")
    note(sample)


def note_slowly(sample):
    note(sample)
    time.sleep(1)


def note(sample):
    (Path(sample.path) / sample.clip_id).touch()


def name_reader(recognizer):
    """Tell which process this is, and which of the bundles opened in it the recognizer reads with."""
    return os.getpid(), id(recognizer.bundle)


class CrashingRecognizer(Recognizer):
    """Ends its process over a clip whose name holds what the environment says."""

    def observe(self, media, **options):
        if os.environ["MOODREEL_TEST_CRASH"] in str(media):
            os.kill(os.getpid(), 9)
        return super().observe(media, **options)


def slow_name(number):
    time.sleep(0.1)
    return number


def double_by_pieces(clip):
    """Double a number; one above 100 by its hundreds and the rest, the hundreds ending their process once."""
    if isinstance(clip, list):
        return sum(clip)
    if isinstance(clip, tuple):
        number, marker = clip
        if marker.exists():
            marker.unlink()
            os.kill(os.getpid(), 9)
        return 2 * number
    number, marker = clip["number"], clip["marker"]
    if number <= 100:
        return 2 * number
    return Parts([(number // 100 * 100, marker), (number % 100, marker)], list)


class DyingRecognizer(Recognizer):
    """Ends its process over clips whose name holds `deadly` or `long`, and once over those with `dying`."""

    def observe(self, media, **options):
        marker = Path(f"{media}.died")
        if "deadly" in str(media) or "long" in str(media) or ("dying" in str(media) and not marker.exists()):
            marker.touch()
            os.kill(os.getpid(), 9)
        return super().observe(media, **options)
