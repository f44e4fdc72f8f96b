"""Voices: where somebody speaks, and how it sounds."""

from __future__ import annotations

from moodreel.voice.functionals import extract_functionals
from moodreel.voice.listener import Voice, VoiceListener, VoiceWindow
from moodreel.voice.speech import Speech, extract_speech
from moodreel.voice.speech_signs import holds_speech

__all__ = [
    "Speech",
    "Voice",
    "VoiceListener",
    "VoiceWindow",
    "extract_functionals",
    "extract_speech",
    "holds_speech",
]
