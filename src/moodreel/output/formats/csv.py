"""CSV: one row per segment and person, fit for a spreadsheet; no instant counts twice for anybody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from moodreel.output.formats.format import Column, Format
from moodreel.output.formats.rows import Cell, flag, seven_cells, seven_columns, write_rows
from moodreel.recognition.prediction import Prediction, Window

COLUMNS = (
    Column("clip", "the clip as it was named"),
    Column("person", "number of the person in the clip; empty where only a voice is heard, or nobody"),
    Column("start_s", "start of the segment in seconds from the file's beginning"),
    Column("end_s", "its end"),
    Column("label", "likeliest emotion of face and voice together, also when abstained; empty with neither"),
    *seven_columns("", "probability by face and voice together"),
    *seven_columns("face_", "probability by the face alone"),
    *seven_columns("voice_", "probability by the voice alone"),
    Column("face_state", "ok, not_seen (others are on screen), no_face, no_video_track, undecodable, unused"),
    Column("voice_state", "ok, not_attributed (of a person beside the one spoken for), no_speech, silent, "
                          "no_audio_track, undecodable, unused"),
    Column("face_weight", "share of the face in the answer, 0-1"),
    Column("voice_weight", "share of the voice in the answer, 0-1"),
    Column("abstained", "true where this segment's evidence is too weak to rely on the label"),
    Column("on_screen", "true where the person's face was seen in this segment, not only in the second around it"),
    Column("sound", "what sounds: speech, laughter, crying, scream, breath, babble, music, noise; empty in silence, "
                    "of a person beside the one spoken for, and where the bundle does not tell"),
    Column("voice_of", "whose the voice is: a person's number or off_screen; empty where nobody is heard or it is not "
                       "sure, and of a person beside the one spoken for"),
    Column("speaking", "which part of the speech around is this person's, 0-1; empty where nothing tells"),
    *seven_columns("own_", "probability by the person's own face and voice, where that voice is told apart"),
)  # fmt: skip


def format_csv(predictions: Iterable[Prediction], *, header: bool = True) -> str:
    """Write one row per segment and person.

    Args:
        predictions: what to write.
        header: whether the first row names the columns.
    """
    return write_rows((row for one in predictions for row in _rows(one)), COLUMNS, header=header)


def _rows(prediction: Prediction) -> Iterator[list[Cell]]:
    people = {person.id: person for person in prediction.people}
    lanes = {number: {one.end_s: one for one in lane} for number, lane in prediction.lanes.items()}
    for segment in prediction.segments:
        spoken_for = people.get(segment.person) if segment.person is not None else None
        on_screen = spoken_for is not None and segment.end_s in lanes[spoken_for.id]
        sound = max(segment.sounds, key=segment.sounds.__getitem__) if segment.sounds else ""
        own = lanes[spoken_for.id].get(segment.end_s) if spoken_for is not None else None
        told = [sound, segment.voice_of or "", *_own_cells(own)]
        yield [*_row(prediction, segment, segment.person, prediction.states(segment), on_screen), *told]
        for number, lane in lanes.items():
            if number != segment.person and segment.end_s in lane:
                beside = lane[segment.end_s]
                states = "ok", "ok" if beside.fused is not None else "not_attributed"
                yield [*_row(prediction, beside, number, states, True), "", "", *_own_cells(beside)]


def _own_cells(own: Window | None) -> list[Cell]:
    """Return whether a person speaks, and what the person's own face and voice say."""
    if own is None or own.speaking is None:
        return ["", *seven_cells(None)]
    return [round(own.speaking, 4), *seven_cells(own.fused)]


def _row(
    prediction: Prediction, segment: Window, person: int | None, states: tuple[str, str], on_screen: bool
) -> list[Cell]:
    known = segment.label is not None
    return [
        prediction.clip,
        "" if person is None else person,
        round(segment.start_s, 3),
        round(segment.end_s, 3),
        segment.label or "",
        *seven_cells(segment.probabilities if known else None),
        *seven_cells(segment.face),
        *seven_cells(segment.voice),
        *states,
        *(round(weight, 4) for weight in segment.weights),
        flag(segment.abstained),
        flag(on_screen),
    ]


def _write(prediction: Prediction, is_first: bool) -> str:
    return format_csv([prediction], header=is_first)


FORMAT = Format("csv", ".csv", _write, is_by_line=True, describe="a row per segment and person", columns=COLUMNS)
