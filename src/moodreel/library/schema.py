"""The three tables of a library, column by column: what every tool that reads Parquet may rely on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from moodreel.labels import EMOTIONS

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1
"""Version of the tables; a library of another one is refused."""
ALIKE_WIDTH = 32
"""Length of a window's vector for "looks and sounds alike"."""
VECTOR = f"float[{ALIKE_WIDTH}]"
TABLES = ("files", "windows", "people")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: how it is called.
        type: `text`, `bool`, `int32`, `int64`, `float` (4 bytes), `double` (8 bytes), or a list of floats: `float[]`,
            `float[32]`.
        meaning: what it holds.
        may_be_null: whether it may hold nothing.
    """

    name: str
    type: str
    meaning: str
    may_be_null: bool = False


def _probabilities(prefix: str, whose: str, *, may_be_null: bool = False) -> tuple[Column, ...]:
    return tuple(Column(f"{prefix}_{name}", "float", f"{name}, {whose}, 0-1", may_be_null) for name in EMOTIONS)


FILES = (
    Column("file_id", "text", "the file in the other tables: 16 hexadecimal digits of a hash of `path` and `key`"),
    Column("key", "text", "what the rows were made of: `content_hash`, `bundle` and `settings`, hashed"),
    Column("path", "text", "the file: absolute path or URL, with #t=START,END where it is a part"),
    Column("folder", "text", "where it lies"),
    Column("name", "text", "its name without the folder"),
    Column("size_bytes", "int64", "its size in bytes"),
    Column("modified_s", "double", "when it was last changed, seconds since 1970 (UTC)"),
    Column("content_hash", "text", "BLAKE2b of its bytes, 32 hexadecimal digits; empty where they could not be read"),
    Column("bundle", "text", "fingerprint of the bundle that answered"),
    Column("settings", "text", "how it was asked, as JSON"),
    Column("status", "text", "`ok` or `failed`"),
    Column("reason", "text", "why it failed, in one line", may_be_null=True),
    Column("duration_s", "double", "its length in seconds; 0 for a picture"),
    Column("width_px", "int32", "width of the picture in pixels", may_be_null=True),
    Column("height_px", "int32", "height of the picture in pixels", may_be_null=True),
    Column("has_face", "bool", "whether a face was seen"),
    Column("has_voice", "bool", "whether a voice was heard"),
    Column("n_people", "int32", "people seen"),
    Column("label", "text", "the likeliest emotion of the whole file", may_be_null=True),
    Column("abstained", "bool", "whether that is too weak to rely on"),
    Column("confidence", "float", "its probability, 0-1"),
    *_probabilities("p", "of the whole file"),
    Column("date_s", "double", "when it was recorded as it says itself, else `modified_s`", may_be_null=True),
    Column("indexed_s", "double", "when it was read, seconds since 1970 (UTC)"),
)
WINDOWS = (
    Column("file_id", "text", "the file, as in `files`"),
    Column("person", "int32", "0 for what is seen and heard then; else a person, as in `people`, by the face alone"),
    Column("start_s", "double", "where it begins, seconds from the file's start; windows of a person do not overlap"),
    Column("end_s", "double", "where it ends"),
    *_probabilities("p", "of face and voice"),
    *_probabilities("face", "by the face alone", may_be_null=True),
    *_probabilities("voice", "by the voice alone", may_be_null=True),
    Column("face_state", "text", "`ok`, or why no face is seen: `no_face`, `not_seen`, `no_video_track`, …"),
    Column("voice_state", "text", "`ok`, or why no voice is heard: `silent`, `no_speech`, `no_audio_track`, …"),
    Column("label", "text", "the likeliest emotion", may_be_null=True),
    Column("confidence", "float", "its probability, 0-1"),
    Column("abstained", "bool", "whether that is too weak to rely on"),
    Column("face_weight", "float", "share of the face in the answer, 0-1"),
    Column("voice_weight", "float", "share of the voice in it, 0-1"),
    Column("n_people", "int32", "people on screen"),
    Column("sound", "text", "what sounds where nobody speaks, such as `laughter`", may_be_null=True),
    Column("alike", VECTOR, "vector by which windows look and sound alike", may_be_null=True),
)
PEOPLE = (
    Column("file_id", "text", "the file, as in `files`"),
    Column("person", "int32", "number of the person in the file, from 1"),
    Column("first_s", "double", "when first seen, seconds from the file's start"),
    Column("last_s", "double", "when last seen"),
    Column("on_screen_s", "double", "how long the face was on screen, in seconds"),
    Column("share", "float", "part of the file in which the face is seen, 0-1"),
    Column("label", "text", "the likeliest emotion of the face"),
    Column("confidence", "float", "its probability, 0-1"),
    Column("abstained", "bool", "whether that is too weak to rely on"),
    *_probabilities("p", "of the face over the whole file"),
    Column("appearance", "float[]", "vector by which faces are one person's; null where too small", may_be_null=True),
)
COLUMNS: Mapping[str, Sequence[Column]] = MappingProxyType({"files": FILES, "windows": WINDOWS, "people": PEOPLE})
"""The columns of each table."""


def arrow_schema(table: str) -> pa.Schema:
    """Return the Arrow schema of a table, one of `TABLES`."""
    import pyarrow as pa

    element = pa.field("element", pa.float32())  # as Parquet calls it
    types = {
        "text": pa.string(),
        "bool": pa.bool_(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
        "float[]": pa.list_(element),
        VECTOR: pa.list_(element, ALIKE_WIDTH),
    }
    fields = [pa.field(one.name, types[one.type], nullable=one.may_be_null) for one in COLUMNS[table]]
    return pa.schema(fields, {"moodreel_schema_version": str(SCHEMA_VERSION)})
