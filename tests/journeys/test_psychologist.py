"""A psychologist has a folder of interviews and wants tables for a spreadsheet, pictures, and answers per person.

She asks about all of them at once, one of which is damaged, goes on when more come in, and takes out of the answers how
each person looks at rest.
"""

import csv
import io
import json
import shutil
from importlib import resources
from itertools import pairwise

import jsonschema
import numpy as np
import pytest
from PIL import Image

from commands import moodreel
from conftest import chirp
from media_files import write_clip, write_image, write_sound
from moodreel import EMOTIONS, Prediction
from tiny_bundle import OFFSETS, write_tiny_bundle

SPEAKER = r"(?P<speaker>[a-z]+)_\d"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    adaptation = {"face": OFFSETS, "voice": OFFSETS}
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "adapting", adaptation=adaptation)


@pytest.fixture(scope="module")
def interviews(tmp_path_factory, face_clip, portrait_frames):
    """Two weeks: ann twice, bob alone and then beside the interviewer, and a damaged file."""
    folder = tmp_path_factory.mktemp("study") / "interviews"
    for name in ("week 1/ann_1", "week 1/bob_1", "week 2/ann_1"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(face_clip, folder / f"{name}.mp4")
    faces = [np.asarray(frame) for frame in portrait_frames]
    pairs = [np.concatenate([face, face[:, ::-1][..., [2, 0, 1]]], axis=1) for face in faces]
    both = {"size": (640, 240), "frames": lambda index: pairs[index % 40], "sound": chirp}
    write_clip(folder / "week 2" / "bob_1.mp4", 3, **both)
    (folder / "week 2" / "cem_1.mp4").write_text("no film")
    return folder


@pytest.fixture(scope="module")
def tables(interviews, bundle, tmp_path_factory):
    """Both tables and a picture of each interview."""
    folder = tmp_path_factory.mktemp("answers")
    rows = moodreel("predict", interviews, "-m", bundle, "-f", "csv", "--bom", "-o", folder / "rows.csv")
    pictures = ("--plot", folder / "plots")
    clips = moodreel("predict", interviews, "-m", bundle, "-f", "csv-clips", "-o", folder / "clips.csv", *pictures)
    assert (rows.status, clips.status) == (1, 1), "one clip failed"
    assert len(rows.errors) == len(clips.errors) == 1 and "cem_1.mp4: is not media" in rows.errors[0]
    return folder


def read_table(path):
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline="")))


def test_rows_of_a_person_never_overlap_and_the_first_of_each_segment_cover_the_clip(tables, interviews):
    assert (tables / "rows.csv").read_bytes().startswith(b"\xef\xbb\xbf"), "Excel takes it for another encoding"
    rows = read_table(tables / "rows.csv")
    assert {row["clip"] for row in rows} == {str(path) for path in interviews.rglob("*.mp4") if path.stem != "cem_1"}
    for clip in {row["clip"] for row in rows}:
        own = [row for row in rows if row["clip"] == clip]
        chart = [row for row in own if row["voice_state"] != "not_attributed"]
        edges = [(float(row["start_s"]), float(row["end_s"])) for row in chart]
        assert edges[0][0] == 0 and edges[-1][1] == pytest.approx(3.0, abs=0.1)
        assert [end for _, end in edges[:-1]] == [start for start, _ in edges[1:]], "an instant counts twice, or never"
        for person in {row["person"] for row in own}:
            times = sorted((float(row["start_s"]), float(row["end_s"])) for row in own if row["person"] == person)
            assert all(first[1] <= second[0] for first, second in pairwise(times))


def test_each_row_says_whose_it_is_and_how_it_comes_about(tables):
    rows = read_table(tables / "rows.csv")
    pair = [row for row in rows if row["clip"].endswith("week 2/bob_1.mp4")]
    assert {row["person"] for row in pair} == {"1", "2"}
    for row in rows:
        fused = [float(row[emotion]) for emotion in EMOTIONS]
        assert sum(fused) == pytest.approx(1, abs=1e-3) and row["label"] == EMOTIONS[int(np.argmax(fused))]
        assert row["abstained"] in ("true", "false") and row["on_screen"] in ("true", "false")
        heard = row["voice_state"] == "ok"
        assert heard == bool(row["voice_sad"]) and (float(row["voice_weight"]) > 0) == heard
        assert bool(row["face_sad"]) == (row["face_state"] == "ok")


def test_a_clip_that_failed_has_its_row(tables):
    rows = {
        row["clip"].rsplit("/", 2)[-1][:-4]: row for row in read_table(tables / "clips.csv") if "week 2" in row["clip"]
    }
    assert rows["cem_1"]["status"] == "failed" and "is not media" in rows["cem_1"]["error"]
    assert rows["cem_1"]["label"] == "" and rows["cem_1"]["angry"] == ""
    assert rows["ann_1"]["status"] == "ok" and rows["ann_1"]["n_people"] == "1" and rows["bob_1"]["n_people"] == "2"
    assert float(rows["ann_1"]["share_surprise"]) > 0.9, "the tiny bundle hears surprise"


def test_every_column_is_explained(tables):
    told = moodreel("formats").out
    for name in ("rows", "clips"):
        for column in read_table(tables / f"{name}.csv")[0]:
            assert f"\n  {column} " in told, f"{column} of {name}.csv stands nowhere"


def test_pictures_keep_the_folders_of_their_interviews(tables):
    found = sorted(str(path.relative_to(tables / "plots")) for path in (tables / "plots").rglob("*.*"))
    assert found == ["week 1/ann_1.png", "week 1/bob_1.png", "week 2/ann_1.png", "week 2/bob_1.png"]
    heights = {name: Image.open(tables / "plots" / name).size[1] for name in found}
    assert heights["week 2/bob_1.png"] == heights["week 2/ann_1.png"] + 2 * 45, "no lane for each of two people"


def test_a_picture_of_another_kind_is_refused_before_anything_is_read(interviews, tmp_path):
    done = moodreel("predict", interviews / "week 1" / "ann_1.mp4", "--plot", tmp_path / "ann.gif", "-m", "no-such")
    assert done.status == 2 and "ann.gif: cannot be written as" in done.errors[0] and not list(tmp_path.iterdir())


def test_a_table_goes_on_when_more_interviews_come(bundle, tmp_path):
    folder, rows = tmp_path / "calls", tmp_path / "rows.csv"
    folder.mkdir()
    write_sound(folder / "ann_1.wav", 2, sound=chirp)
    wanted = ("predict", folder, "-m", bundle, "-f", "csv", "-o", rows)
    assert moodreel(*wanted).status == 0
    first = rows.read_text()
    write_sound(folder / "bob_1.wav", 2, sound=chirp)
    more = moodreel(*wanted, "--resume")
    assert more.status == 0 and "1 of 2 clips are answered already" in more.err
    assert rows.read_text().startswith(first) and rows.read_text().count("abstained") == 1, "a second header"
    assert {row["clip"][-9:] for row in read_table(rows)} == {"ann_1.wav", "bob_1.wav"}


def test_what_cannot_go_on_is_overwritten_only_when_asked_for(bundle, tmp_path):
    sound, kept = write_sound(tmp_path / "ann_1.wav", 2, sound=chirp), tmp_path / "ann.json"
    kept.write_text("a year's work")
    wanted = ("predict", sound, "-m", bundle, "-f", "json", "-o", kept)
    refused = moodreel(*wanted)
    assert refused.status == 2 and "--overwrite" in refused.errors[0] and kept.read_text() == "a year's work"
    assert moodreel(*wanted, "--overwrite").status == 0 and json.loads(kept.read_text())["label"] == "surprise"


def test_a_person_is_known_by_all_interviews_or_by_one_picture_at_rest(interviews, bundle, tmp_path, portrait_frames):
    wanted = ("predict", interviews, "-m", bundle, "-f", "jsonl")
    done = moodreel(*wanted, "--adapt", "folder", "--speakers", SPEAKER)
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert "ann (2 clips)" in done.err and "bob (2 clips)" in done.err
    assert [one["adaptation"]["to"] for one in answers] == ["folder"] * 4
    assert [one["adaptation"]["face_stretches"] for one in answers if "ann_1" in one["clip"]] == [2, 2]
    rest = write_image(tmp_path / "rest.png", np.asarray(portrait_frames[0]), codec="png", pix_fmt="rgb24")
    alone = ("predict", interviews / "week 1" / "ann_1.mp4", "-m", bundle, "-f", "json")
    settled = json.loads(moodreel(*alone, "--baseline", rest).out)
    assert settled["adaptation"]["to"] == "baseline" and settled["adaptation"]["moved"] > 0


def test_the_bundle_that_ships_says_how_sure_it_is_of_clip_segments_and_people(face_clip):
    answer = json.loads(moodreel("predict", face_clip, "-f", "json").out)
    schema = json.loads(resources.files("moodreel").joinpath("prediction.schema.json").read_text())
    jsonschema.validate(answer, schema)
    assert answer["scope"] == "person" and answer["schema_version"] == schema["properties"]["schema_version"]["const"]
    least, top = answer["abstain_below"], max(answer["probabilities"].values())
    assert answer["abstained"] == (top < least) and answer["leaning"] == (least <= top < least + 0.05)
    for one in (*answer["segments"], *answer["people"]):
        assert one["abstained"] == (max(one["probabilities"].values()) < least)
    shown = moodreel("predict", face_clip).out
    for stretch in Prediction.from_dict(answer).stretches:
        assert f"{stretch.label} {stretch.probability:.0%}" in shown, "table and JSON tell of a stretch differently"
