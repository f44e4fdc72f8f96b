"""Moments as text: each format holds them all, and names made up by strangers harm no reader of it."""

import csv
import io
import json
import re

import pytest

from moodreel.errors import OutputError
from moodreel.labels import EMOTIONS
from moodreel.library.formats import COLUMNS, FORMATS, MOST_EVENTS, find_moment_format, media_path
from moodreel.library.found import Moment

SHARES = (0.7, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05)
HOSTILE = "/films/=1+1\n#EXTM3U --> \x1b[31m, \"a\" 'b'.mp4"


def moment(file="/films/a b.mp4", start_s=61.04, end_s=65.5, person=0, who=0):
    return Moment("0" * 16, file, start_s, end_s, person, 0.7, SHARES, who)


def write(name, *moments, rate_hz=25):
    return find_moment_format(name).write(moments, rate_hz)


def test_a_table_is_a_line_a_moment():
    lines = write("table", moment(), moment(person=2, who=3)).splitlines()
    assert len(lines) == 3 and "0:01:01.0" in lines[1] and "angry 70%" in lines[1] and "/films/a b.mp4" in lines[1]
    assert lines[2].endswith("person 2  who 3")
    assert write("table") == "no moment fits\n"


def test_json_holds_every_value():
    (held,) = json.loads(write("json", moment()))
    assert (held["start_s"], held["end_s"], held["label"], held["who"]) == (61.04, 65.5, "angry", None)
    assert list(held["probabilities"]) == list(EMOTIONS)
    assert json.loads(write("json")) == []


def test_csv_is_read_back_and_no_spreadsheet_runs_it():
    rows = list(csv.DictReader(io.StringIO(write("csv", moment(), moment(file="=1+1"), moment(file=HOSTILE)))))
    assert list(rows[0]) == [column.name for column in COLUMNS]
    assert rows[0]["start_s"] == "61.04" and rows[0]["angry"] == "0.7" and rows[0]["who"] == ""
    assert rows[1]["file"] == "'=1+1" and rows[2]["file"] == HOSTILE


def test_vtt_is_in_the_order_of_time():
    text = write("vtt", moment(start_s=5, end_s=6), moment(start_s=1, end_s=2, person=2), moment(start_s=9, end_s=9))
    assert text.startswith("WEBVTT\n")
    times = re.findall(r"(\S+) --> (\S+)", text)
    assert times == [("00:00:01.000", "00:00:02.000"), ("00:00:05.000", "00:00:06.000")]
    assert "<v person 2>angry 70%" in text


def test_an_edit_list_lays_moments_one_after_another():
    lines = write("edl", moment(), moment(start_s=3600, end_s=3601)).splitlines()
    events = [line for line in lines if re.match(r"\d{3}  ", line)]
    assert events == [
        "001  AX       B     C        00:01:01:01 00:01:05:13 00:00:00:00 00:00:04:12",
        "002  AX       B     C        01:00:00:00 01:00:01:00 00:00:04:12 00:00:05:12",
    ]
    assert "* FROM CLIP NAME: a b.mp4" in lines


@pytest.mark.parametrize("rate_hz", [24, 30, 60])
def test_an_edit_list_counts_frames_at_the_rate_asked_for(rate_hz):
    (event,) = re.findall(r"^001 .*", write("edl", moment(start_s=1.5, end_s=1.5), rate_hz=rate_hz), re.MULTILINE)
    begin, end = event.split()[4:6]
    assert begin == f"00:00:01:{rate_hz // 2:02d}" and end == f"00:00:01:{rate_hz // 2 + 1:02d}"


def test_an_edit_list_that_would_be_too_long_is_refused():
    with pytest.raises(OutputError, match="at most 999 cuts, not 1000; use --limit 999"):
        write("edl", *[moment()] * (MOST_EVENTS + 1))


def test_a_playlist_says_where_to_begin_and_end():
    lines = write("m3u", moment(), moment(start_s=0, end_s=0)).splitlines()
    assert lines[0] == "#EXTM3U"
    assert lines[2:5] == ["#EXTVLCOPT:start-time=61.040", "#EXTVLCOPT:stop-time=65.500", "/films/a b.mp4"]
    assert lines[-2].startswith("#EXTINF:1,") and len(lines) == 7


@pytest.mark.parametrize("name", ["table", "vtt", "edl", "m3u"])
def test_a_name_cannot_add_lines(name):
    plain, hostile = write(name, moment()), write(name, moment(file=HOSTILE))
    assert hostile.count("\n") == plain.count("\n") and "\x1b" not in hostile


def test_the_files_of_a_playlist_can_be_opened():
    lines = write("m3u", moment(file=HOSTILE), moment(file="s3://bucket/a.mp4"), moment(file="#a.mp4")).splitlines()
    files = [line for line in lines if not line.startswith("#")]
    assert files[0].startswith("file:///films/%3D1%2B1%0A") and files[1] == "s3://bucket/a.mp4"
    assert files[2].startswith("file:///")


def test_a_part_is_opened_under_its_files_name():
    assert media_path("/films/a.mp4#t=1,2") == "/films/a.mp4"
    assert media_path("s3://bucket/a.mp4#t=1,2") == "s3://bucket/a.mp4"
    assert media_path("/films/\\udcff.mp4") == "/films/\udcff.mp4"


def test_an_unknown_format_is_told_with_the_nearest():
    with pytest.raises(OutputError, match=r"unknown format 'vvt', expected one of table, .*; did you mean 'vtt'"):
        find_moment_format("vvt")
    assert all(one.suffix.startswith(".") and one.describe for one in FORMATS.values())
