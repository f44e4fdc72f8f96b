"""moodreel: what the people in a clip feel, from the face and the voice, over time."""

__version__ = "0.1.0"
