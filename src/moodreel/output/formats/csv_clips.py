"""CSV of clips: one row per clip with its answer, and one for each clip that failed."""

from __future__ import annotations

from moodreel.output.formats.format import Column, Format
from moodreel.output.formats.rows import Cell, flag, seven_cells, seven_columns, write_rows
from moodreel.recognition.prediction import Person, Prediction

COLUMNS = (
    Column("clip", "the clip as it was named"),
    Column("status", "ok or failed"),
    Column("error", "why it failed; empty otherwise"),
    Column("model", "name and version of the bundle"),
    Column("duration_s", "length in seconds; 0 for a still picture"),
    Column("scope", "person, or crowd where nobody has half of all face time: then read the share_ columns"),
    Column(
        "label", "likeliest emotion of the person spoken for and the voice, also when abstained; empty with neither"
    ),
    Column("abstained", "true where the evidence is too weak to rely on the label"),
    Column("leaning", "true where it is only just enough"),
    *seven_columns("", "probability by face and voice together"),
    *seven_columns("share_", "part of the time for which it is the answer"),
    Column("face_state", "ok, no_face, no_video_track, undecodable, unused"),
    *seven_columns("face_", "probability by the face alone"),
    Column("face_weight", "share of the face in the answer, 0-1"),
    Column("voice_state", "ok, no_speech, silent, no_audio_track, undecodable, unused"),
    *seven_columns("voice_", "probability by the voice alone"),
    Column("voice_weight", "share of the voice in the answer, 0-1"),
    Column("person", "number of the person spoken for; empty without a face"),
    Column("n_people", "how many people were seen"),
    Column("people", "each person's number, likeliest emotion and part of the time on screen, most present first"),
    Column("warnings", "what to beware of"),
)


def _write(prediction: Prediction, is_first: bool) -> str:
    return write_rows([_row(prediction)], COLUMNS, header=is_first)


def _write_failure(clip: str, error: str, is_first: bool) -> str:
    row: list[Cell] = [clip, "failed", error]
    return write_rows([row + [""] * (len(COLUMNS) - len(row))], COLUMNS, header=is_first)


def _row(prediction: Prediction) -> list[Cell]:
    face, voice = prediction.face, prediction.voice
    return [
        prediction.clip,
        "ok",
        "",
        prediction.model,
        round(prediction.duration_s, 3),
        prediction.scope,
        prediction.label or "",
        flag(prediction.abstained),
        flag(prediction.is_leaning),
        *seven_cells(prediction.probabilities if prediction.label else None),
        *seven_cells(prediction.shares),
        face.state,
        *seven_cells(face.probabilities),
        round(face.weight, 4),
        voice.state,
        *seven_cells(voice.probabilities),
        round(voice.weight, 4),
        "" if prediction.person is None else prediction.person,
        len(prediction.people),
        "; ".join(_describe(person) for person in prediction.people),
        "; ".join(prediction.warnings),
    ]


def _describe(person: Person) -> str:
    weak = " (unsure)" if person.abstained else ""
    return f"{person.id} {person.label}{weak} {person.share_on_screen:.0%}"


FORMAT = Format(
    "csv-clips",
    ".csv",
    _write,
    is_by_line=True,
    describe="a row per clip, also for those that failed",
    columns=COLUMNS,
    write_failure=_write_failure,
)
