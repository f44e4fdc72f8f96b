"""Leaks: whether a clip that is scored, or its recording, was among those that were trained on."""

from __future__ import annotations

from moodreel.leaks.fingerprints import Fingerprint, read_fingerprint
from moodreel.leaks.guard import Leak, LeakReport, find_leaks
from moodreel.leaks.matching import Match, find_matches
from moodreel.leaks.training_clips import KnownClip, read_training_clips, write_training_clips

__all__ = [
    "Fingerprint",
    "KnownClip",
    "Leak",
    "LeakReport",
    "Match",
    "find_leaks",
    "find_matches",
    "read_fingerprint",
    "read_training_clips",
    "write_training_clips",
]
