"""What a query can ask of a window: the words of the language, and the column behind each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from moodreel.labels import EMOTIONS

Kind = Literal["probability", "flag", "count", "time", "date", "text"]
Table = Literal["windows", "files", "people"]

SOUNDS = ("speech", "laughter", "crying", "scream", "breath", "babble", "music", "noise")
"""What may sound in a window."""

KIND_WORDS: Mapping[Kind, str] = MappingProxyType(
    {
        "probability": "a number from 0 to 1",
        "flag": "yes or no",
        "count": "a whole number",
        "time": "a time in seconds, such as 90, 90s or 1:30",
        "date": "a date, such as 2024-05-31, 2024-05 or 2024",
        "text": "a text in quotes",
    }
)
"""How a message describes what a field is compared with."""


@dataclass(frozen=True)
class Field:
    """A word that stands for a value of each window.

    Attributes:
        name: the word.
        kind: what it can be compared with.
        column: the value in the tables that `library/tables.py` makes.
        table: where it stands; what is true of a whole file is looked up once a file.
        meaning: what it is, in one clause.
        values: all that a text can be; none where it can be anything.
    """

    name: str
    kind: Kind
    column: str
    table: Table
    meaning: str
    values: tuple[str, ...] = ()


def _probabilities() -> list[Field]:
    prefixes = (
        ("", "p_", "face and voice together"),
        ("face.", "face_", "the face"),
        ("voice.", "voice_", "the voice"),
    )
    return [
        Field(prefix + emotion, "probability", column + emotion, "windows", f"probability of {emotion} by {source}")
        for prefix, column, source in prefixes
        for emotion in EMOTIONS
    ]


_FIELDS = (
    *_probabilities(),
    Field("confidence", "probability", "confidence", "windows", "probability of the likeliest emotion"),
    Field("label", "text", "label", "windows", "the likeliest emotion", EMOTIONS),
    Field("abstained", "flag", "abstained", "windows", "the evidence is too weak to rely on"),
    Field("face", "flag", "is_seen", "windows", "a face was read"),
    Field("voice", "flag", "is_heard", "windows", "a voice was read"),
    Field("people", "count", "n_people", "windows", "how many people are seen then"),
    Field("person", "count", "person", "windows", "0 for what is seen and heard then, 1 and up for one person's face"),
    Field("who", "count", "who", "people", "whose face it is in the whole library, with --people; from 1"),
    Field("sound", "text", "sound", "windows", "what sounds most", SOUNDS),
    Field("start", "time", "start_s", "windows", "where the window begins in the file"),
    Field("end", "time", "end_s", "windows", "where it ends"),
    Field("file", "text", "path", "files", "the file with its folder"),
    Field("folder", "text", "folder", "files", "the folder it stands in"),
    Field("name", "text", "name", "files", "the file without its folder"),
    Field("duration", "time", "duration_s", "files", "how long the file is"),
    Field("date", "date", "date_s", "files", "when the file was made, in UTC"),
)

FIELDS: Mapping[str, Field] = MappingProxyType({field.name: field for field in _FIELDS})
"""Every field by its word, in the order of the documentation."""
