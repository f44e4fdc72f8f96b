"""Each reader on small folders of empty files in the corpus's own layout, and on input that must be refused."""

from __future__ import annotations

import builtins
import json
import re
import wave
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from rich.console import Console

from moodreel.corpora import (
    UNKNOWN_SPEAKER,
    Corpus,
    describe_corpus,
    natural_key,
    read_corpus,
    read_feature_file,
    render_description,
)
from moodreel.errors import CorpusError
from moodreel.extras import advise
from moodreel.labels import EMOTIONS, read_class_map


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_tone(path: Path, seconds: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = (np.sin(np.arange(int(16000 * seconds)) * 0.1) * 8000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(tone.tobytes())
    return path


def speakers_by_clip(corpus: Corpus) -> dict[str, str]:
    return {sample.clip_id: sample.speaker for sample in corpus.samples}


def labels_by_clip(corpus: Corpus) -> dict[str, str]:
    return {sample.clip_id: sample.label for sample in corpus.samples}


class TestRavdess:
    def test_each_emotion_code_has_its_emotion(self, tmp_path):
        touch(tmp_path, *(f"Actor_01/01-01-{code:02}-01-01-01-01.mp4" for code in range(1, 9)))
        labels = [sample.label for sample in read_corpus(tmp_path).samples]
        assert labels == ["neutral", "neutral", "happy", "sad", "angry", "fear", "disgust", "surprise"]

    def test_speaker_and_gender_come_from_the_actor(self, tmp_path):
        touch(tmp_path, "03-01-05-01-01-01-07.wav", "03-01-05-01-01-01-12.opus")
        corpus = read_corpus(tmp_path)
        assert [(s.speaker, s.gender) for s in corpus.samples] == [("07", "male"), ("12", "female")]
        assert (corpus.layout, corpus.name, corpus.problems) == ("ravdess", "ravdess", ())

    def test_songs_are_left_out_and_said(self, tmp_path):
        touch(tmp_path, "01-01-03-01-01-01-01.mp4", "01-02-03-01-01-01-01.mp4", "01-02-04-01-01-01-01.mp4")
        corpus = read_corpus(tmp_path)
        assert len(corpus.samples) == 1
        assert "song" in corpus.problems[0].reason
        assert len(corpus.problems[0].paths) == 2

    def test_a_take_counts_once_whatever_its_forms(self, tmp_path):
        take = "01-03-01-01-01-01"
        touch(tmp_path, f"a/03-{take}.wav", f"v/02-{take}.mp4", f"v/01-{take}.mp4", f"again/01-{take}.mp4")
        corpus = read_corpus(tmp_path)
        assert [sample.clip_id for sample in corpus.samples] == [f"01-{take}"]
        assert sum(len(problem.paths) for problem in corpus.problems) == 3
        assert any("two clips of one name" in problem.reason for problem in corpus.problems)

    def test_other_files_are_listed_and_hidden_ones_are_not(self, tmp_path):
        touch(tmp_path, "01-01-03-01-01-01-01.mp4", "01-01-09-01-01-01-01.mp4", "x.partial.mp4", "notes.txt", "._x.mp4")
        (problem,) = read_corpus(tmp_path).problems
        assert {path.name for path in problem.paths} == {"01-01-09-01-01-01-01.mp4", "x.partial.mp4"}

    def test_linked_folders_are_followed_once(self, tmp_path):
        touch(tmp_path / "store", "01-01-03-01-01-01-01.mp4")
        root = touch(tmp_path / "corpus")
        root.mkdir()
        (root / "Actor_01").symlink_to(tmp_path / "store", target_is_directory=True)
        (root / "loop").symlink_to(root, target_is_directory=True)
        assert len(read_corpus(root).samples) == 1


class TestCremad:
    def test_emotions_and_speakers(self, tmp_path):
        codes = ["ANG", "DIS", "FEA", "HAP", "NEU", "SAD"]
        touch(tmp_path, *(f"VideoFlash/10{i:02}_DFA_{code}_XX.flv" for i, code in enumerate(codes, 1)))
        corpus = read_corpus(tmp_path)
        assert [sample.label for sample in corpus.samples] == ["angry", "disgust", "fear", "happy", "neutral", "sad"]
        assert corpus.speakers == ("1001", "1002", "1003", "1004", "1005", "1006")
        assert corpus.layout == "cremad"

    def test_picture_and_sound_of_a_take_count_once_as_video(self, tmp_path):
        touch(
            tmp_path, "AudioWAV/1001_DFA_ANG_XX.wav", "AudioMP3/1001_DFA_ANG_XX.mp3", "VideoFlash/1001_DFA_ANG_XX.flv"
        )
        corpus = read_corpus(tmp_path)
        assert [sample.path.suffix for sample in corpus.samples] == [".flv"]
        assert len(corpus.problems[0].paths) == 2

    def test_sound_alone_is_read_and_so_is_the_odd_name_of_the_release(self, tmp_path):
        touch(tmp_path, "AudioWAV/1040_ITH_SAD_X.wav")
        assert len(read_corpus(tmp_path).samples) == 1

    def test_demographics(self, tmp_path):
        touch(tmp_path, "v/1001_DFA_ANG_XX.flv", "v/1002_DFA_ANG_XX.flv")
        write(tmp_path / "VideoDemographics.csv", "ActorID,Age,Sex,Race\n1001,51,Male,x\n")
        assert [(s.age, s.gender) for s in read_corpus(tmp_path).samples] == [(51, "male"), (None, None)]

    def test_unknown_emotion_is_refused(self, tmp_path):
        touch(tmp_path, "1001_DFA_XYZ_XX.flv")
        with pytest.raises(CorpusError, match=r"XYZ.*angry, disgust"):
            read_corpus(tmp_path)


class TestNemo:
    HEADER = "file_id\temotion\traw_text\tspeaker_id\tgender\tage\n"

    def test_table_is_matched_by_stem(self, tmp_path):
        touch(tmp_path, "audio/WR0_anger_1.opus", "audio/EB0_surprised_2.opus")
        rows = 'WR0_anger_1.wav\tanger\tA, b.\t   WR0\tmale\t23\nEB0_surprised_2.wav\tsurprised\t„x"\tEB0\tfemale\t27\n'
        write(tmp_path / "data.tsv", self.HEADER + rows)
        corpus = read_corpus(tmp_path)
        found = [(s.clip_id, s.label, s.speaker, s.gender, s.age) for s in corpus.samples]
        assert found == [
            ("EB0_surprised_2", "surprise", "EB0", "female", 27),
            ("WR0_anger_1", "angry", "WR0", "male", 23),
        ]
        assert corpus.layout == "nemo"

    def test_rows_and_files_without_partner_are_listed(self, tmp_path):
        touch(tmp_path, "WR0_anger_1.wav", "extra.wav")
        write(
            tmp_path / "data.tsv",
            self.HEADER + "WR0_anger_1.wav\tanger\tx\tWR0\tm\t23\ngone.wav\tfear\tx\tWR0\tm\t23\n",
        )
        reasons = {str(problem) for problem in read_corpus(tmp_path).problems}
        assert len(reasons) == 2

    def test_a_quotation_mark_in_the_text_does_not_swallow_rows(self, tmp_path):
        touch(tmp_path, "a_1.wav", "a_2.wav")
        write(tmp_path / "data.tsv", self.HEADER + 'a_1.wav\tanger\t"Open\tA\tm\t1\na_2.wav\tfear\tx\tA\tm\t1\n')
        assert len(read_corpus(tmp_path).samples) == 2


class TestAfew:
    def make(self, root: Path) -> Path:
        return touch(
            root,
            "Train/Angry/000046280.avi",
            "Train/Happy/000046281.avi",
            "Val/Angry/000052440.avi",
            "Test/001234.avi",
            "Train/AlignedFaces/000046280/001.jpg",
        )

    def test_official_split_is_kept(self, tmp_path):
        corpus = read_corpus(self.make(tmp_path))
        assert corpus.layout == "afew"
        assert Counter(sample.split for sample in corpus.samples) == {"train": 2, "valid": 1}
        assert corpus.samples[0].clip_id == "Train/Angry/000046280"
        assert {sample.speaker for sample in corpus.samples} == {UNKNOWN_SPEAKER}

    def test_unlabelled_test_clips_are_listed(self, tmp_path):
        (problem,) = read_corpus(self.make(tmp_path)).problems
        assert "no emotion folder (test)" in problem.reason

    def test_folders_of_the_challenge_download(self, tmp_path):
        touch(tmp_path, "Train_AFEW/Fear/1.avi", "Val_AFEW/Sad/2.avi")
        assert labels_by_clip(read_corpus(tmp_path)) == {"Train_AFEW/Fear/1": "fear", "Val_AFEW/Sad/2": "sad"}

    def test_features_are_matched_by_stem_and_side(self, tmp_path):
        self.make(tmp_path)
        touch(tmp_path, "Audio/Train/Angry/000046280.arff", "Audio/Train/Angry/000046280.csv", "feats/000052440.csv")
        found = {s.clip_id: s.features_path and s.features_path.name for s in read_corpus(tmp_path).samples}
        assert found["Train/Angry/000046280"] == "000046280.arff"
        assert found["Val/Angry/000052440"] == "000052440.csv"
        assert found["Train/Happy/000046281"] is None

    def test_features_of_another_side_are_not_taken(self, tmp_path):
        touch(tmp_path, "Train/Angry/1.avi", "Val/Angry/1.avi", "Val/Angry/1.arff")
        by_split = {sample.split: sample.features_path for sample in read_corpus(tmp_path).samples}
        assert by_split["train"] is None
        assert by_split["valid"] is not None

    def test_films_come_from_a_table(self, tmp_path):
        self.make(tmp_path)
        table = write(tmp_path / "films.csv", "clip,film\n000046280,Alien\n000046281,Alien\n000052440,Brazil\n")
        assert set(speakers_by_clip(read_corpus(tmp_path, speakers_csv=table)).values()) == {"Alien", "Brazil"}

    def test_two_folders_for_one_side_are_refused(self, tmp_path):
        touch(tmp_path, "Val/Angry/1.avi", "valid/Angry/2.avi")
        with pytest.raises(CorpusError, match="valid side"):
            read_corpus(tmp_path)


class TestClassFolders:
    def test_any_name_of_an_emotion(self, tmp_path):
        touch(tmp_path, "anger/a.mp4", "Joy/b.mov", "neutral/deep/down/c.wav", "readme.txt")
        corpus = read_corpus(tmp_path)
        assert labels_by_clip(corpus) == {"anger/a": "angry", "Joy/b": "happy", "neutral/deep/down/c": "neutral"}
        assert corpus.layout == "folders"

    def test_one_name_in_two_classes_makes_two_clips(self, tmp_path):
        touch(tmp_path, "angry/clip1.mp4", "happy/clip1.mp4")
        assert len(read_corpus(tmp_path).samples) == 2

    def test_unknown_class_names_the_nearest(self, tmp_path):
        touch(tmp_path, "angry/a.mp4", "suprise/b.mp4")
        with pytest.raises(CorpusError, match=r"'suprise'.*expected one of angry.*did you mean 'surprise'"):
            read_corpus(tmp_path)

    def test_unknown_classes_alone_are_told_too(self, tmp_path):
        touch(tmp_path, "contempt/a.mp4")
        with pytest.raises(CorpusError, match="unknown class 'contempt'"):
            read_corpus(tmp_path)

    def test_speaker_from_a_pattern(self, tmp_path):
        touch(tmp_path, "angry/anna_1.mp4", "happy/ben_1.mp4")
        corpus = read_corpus(tmp_path, speaker_regex=r"/(?P<speaker>[a-z]+)_\d")
        assert speakers_by_clip(corpus) == {"angry/anna_1": "anna", "happy/ben_1": "ben"}

    @pytest.mark.parametrize(
        ("pattern", "message"),
        [
            ("(", "no regular expression"),
            (r"(\w+)_", "group named speaker"),
            (r"(?P<speaker>x+)", r"angry/anna_1 and 1 more"),
        ],
    )
    def test_bad_patterns_are_refused(self, tmp_path, pattern, message):
        touch(tmp_path, "angry/anna_1.mp4", "happy/ben_1.mp4")
        with pytest.raises(CorpusError, match=message):
            read_corpus(tmp_path, speaker_regex=pattern)

    def test_speaker_from_a_table(self, tmp_path):
        touch(tmp_path, "angry/1.mp4", "happy/1.mp4", "sad/2.mp4")
        table = write(tmp_path / "who.csv", "clip,speaker\nangry/1,anna\nhappy/1,ben\n2.mp4,anna\n")
        assert list(speakers_by_clip(read_corpus(tmp_path, speakers_csv=table)).values()) == ["anna", "ben", "anna"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("clip,speaker\n1,anna\n2,anna\n", "one row fits both"),
            ("clip,speaker\nangry/1,anna\n", "no speaker for happy/1"),
            ("clip,speaker\nangry/1,anna\nangry/1,ben\n", "two speakers"),
            ("clip,who\nangry/1,anna\n", "no column 'speaker' or 'film'"),
            ("", "no row"),
        ],
    )
    def test_bad_tables_are_refused(self, tmp_path, text, message):
        touch(tmp_path, "angry/1.mp4", "happy/1.mp4", "sad/2.mp4")
        with pytest.raises(CorpusError, match=message):
            read_corpus(tmp_path, speakers_csv=write(tmp_path / "who.csv", text))


class TestManifest:
    def make(self, root: Path, text: str) -> Path:
        touch(root, "clips/a.mp4", "clips/b.mp4")
        return write(root / "manifest.csv", text)

    def test_all_columns(self, tmp_path):
        path = self.make(
            tmp_path,
            "Path,Label,Speaker,Split,start_s,end_s,gender,age,note\n"
            "clips/a.mp4,Anger,anna,dev,1.5,3,F,30,hm\nclips/b.mp4,joy,,train,,,,,\n",
        )
        first, second = read_corpus(path).samples
        assert (first.label, first.speaker, first.split, first.start_s, first.end_s) == (
            "angry",
            "anna",
            "valid",
            1.5,
            3.0,
        )
        assert (first.gender, first.age, first.clip_id) == ("female", 30, "clips/a.mp4#1.5-3")
        assert (second.label, second.speaker, second.split, second.start_s) == ("happy", UNKNOWN_SPEAKER, "train", 0.0)
        assert second.end_s is None

    def test_parts_of_one_long_film_have_names_of_their_own(self, tmp_path):
        rows = "clips/a.mp4,sad,12345.678,12349.5\nclips/a.mp4,sad,12345.679,12349.5\nclips/a.mp4,sad,,\n"
        samples = read_corpus(self.make(tmp_path, f"path,label,start_s,end_s\n{rows}")).samples
        assert [sample.clip_id for sample in samples] == [
            "clips/a.mp4",
            "clips/a.mp4#12345.678-12349.5",
            "clips/a.mp4#12345.679-12349.5",
        ]

    def test_found_in_its_folder_and_with_a_byte_order_mark(self, tmp_path):
        self.make(tmp_path, "\ufeffpath,label\nclips/a.mp4,sad\n")
        corpus = read_corpus(tmp_path)
        assert (corpus.layout, corpus.name, len(corpus.samples)) == ("manifest", tmp_path.name, 1)
        assert corpus.samples[0].path.is_file()

    def test_tab_separated(self, tmp_path):
        touch(tmp_path, "a.mp4")
        assert len(read_corpus(write(tmp_path / "m.tsv", "path\tlabel\na.mp4\tsad\n")).samples) == 1

    def test_missing_files_are_listed(self, tmp_path):
        corpus = read_corpus(self.make(tmp_path, "path,label\nclips/a.mp4,sad\nclips/gone.mp4,sad\n"))
        assert len(corpus.samples) == 1
        assert "no such file" in str(corpus.problems[0])

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("clips/a.mp4,angri", r"row 2: unknown class 'angri'.*did you mean 'angry'"),
            (",sad", "path is empty"),
            ("clips/a.mp4,sad,x,holdout", "unknown split 'holdout'"),
            ("clips/a.mp4,sad,x,test,soon,", "no time in seconds"),
            ("clips/a.mp4,sad,x,test,-1,", "no time in seconds"),
            ("clips/a.mp4,sad,x,test,nan,", "no time in seconds"),
            ("clips/a.mp4,sad,x,test,2,1", "later than start_s"),
            ("clips/a.mp4,sad\nclips/a.mp4,sad", "two clips of one name"),
            ("clips/a.mp4,sad\nclips/a.mp4,happy", "two clips of one name"),
            ("clips/gone.mp4,sad", "no clips"),
        ],
    )
    def test_bad_rows_are_refused(self, tmp_path, row, message):
        path = self.make(tmp_path, f"path,label,speaker,split,start_s,end_s\n{row}\n")
        with pytest.raises(CorpusError, match=message):
            read_corpus(path)

    @pytest.mark.parametrize(
        "hostile", ["../secret.mp4", "/etc/passwd", "clips/../../secret.mp4", "a/../../../etc/passwd"]
    )
    def test_paths_outside_the_folder_are_refused(self, tmp_path, hostile):
        touch(tmp_path, "secret.mp4")
        path = self.make(tmp_path / "corpus", f"path,label\n{hostile},sad\n")
        with pytest.raises(CorpusError, match=r"outside the manifest's folder.*--allow-outside"):
            read_corpus(path)

    def test_paths_outside_the_folder_can_be_allowed(self, tmp_path):
        touch(tmp_path, "away/a.mp4", "b.mp4")
        path = self.make(tmp_path / "corpus", f"path,label\n{tmp_path / 'away/a.mp4'},sad\n../b.mp4,happy\n")
        assert len(read_corpus(path, allow_outside=True).samples) == 2

    @given(st.text(max_size=30))
    def test_no_text_in_the_path_column_crashes(self, tmp_path_factory, text):
        folder = tmp_path_factory.mktemp("m")
        quoted = '"' + text.replace('"', '""').replace("\0", "") + '"'
        path = folder / "m.csv"
        path.write_text(f"path,label\n{quoted},sad\n", encoding="utf-8", errors="surrogatepass")
        with pytest.raises(CorpusError):
            read_corpus(path)

    @pytest.mark.parametrize(
        "content", [b"", b"path,label\n", b"path\na.mp4\n", b"\xff\xfe\x00\x01", b"path;label\na;sad\n"]
    )
    def test_what_is_no_table_is_refused(self, tmp_path, content):
        path = tmp_path / "m.csv"
        path.write_bytes(content)
        with pytest.raises(CorpusError, match=r"m\.csv"):
            read_corpus(path)

    def test_parquet(self, tmp_path):
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        touch(tmp_path, "a.mp4")
        table = pyarrow.table({"path": ["a.mp4"], "label": ["sad"], "speaker": [7], "start_s": [None]})
        parquet.write_table(table, tmp_path / "manifest.parquet")
        (sample,) = read_corpus(tmp_path).samples
        assert (sample.label, sample.speaker, sample.start_s) == ("sad", "7", 0.0)

    def test_what_is_no_parquet_is_refused(self, tmp_path):
        pytest.importorskip("pyarrow")
        with pytest.raises(CorpusError, match="not a readable Parquet"):
            read_corpus(write(tmp_path / "m.parquet", "no"))

    def test_parquet_without_pyarrow_names_the_extra(self, tmp_path, monkeypatch):
        real_import = builtins.__import__

        def refuse(name, *args, **kwargs):
            if name.startswith("pyarrow"):
                raise ImportError(name)
            return real_import(name, *args, **kwargs)

        path = write(tmp_path / "m.parquet", "no")
        monkeypatch.setattr(builtins, "__import__", refuse)
        with pytest.raises(CorpusError, match=re.escape(advise("parquet"))):
            read_corpus(path)


class TestDetection:
    def test_several_layouts_are_listed(self, tmp_path):
        touch(tmp_path, "01-01-03-01-01-01-01.mp4", "1001_DFA_ANG_XX.flv")
        with pytest.raises(
            CorpusError, match=r"several layouts: ravdess \(1 file names\); cremad \(1 file names\).*--layout"
        ):
            read_corpus(tmp_path)
        assert len(read_corpus(tmp_path, "cremad").samples) == 1

    def test_no_layout_lists_all(self, tmp_path):
        touch(tmp_path, "holiday.mp4")
        with pytest.raises(CorpusError, match=r"afew: Train.*manifest: "):
            read_corpus(tmp_path)

    @pytest.mark.parametrize("layout", ["afew", "ravdess", "cremad", "nemo", "folders", "manifest"])
    def test_an_empty_folder_has_no_clips(self, tmp_path, layout):
        with pytest.raises(CorpusError, match=str(tmp_path)):
            read_corpus(tmp_path, layout)

    def test_an_unknown_layout_names_the_nearest(self, tmp_path):
        with pytest.raises(CorpusError, match="did you mean 'ravdess'"):
            read_corpus(tmp_path, "ravdes")

    def test_no_such_folder(self, tmp_path):
        with pytest.raises(CorpusError, match="no such folder"):
            read_corpus(tmp_path / "gone")

    def test_pattern_and_table_exclude_each_other(self, tmp_path):
        with pytest.raises(CorpusError, match=r"--speakers.*--speakers-csv.*not from both"):
            read_corpus(tmp_path, speaker_regex="x", speakers_csv="y.csv")


class TestFeatureFiles:
    ARFF = (
        "@relation x\n\n@attribute name string\n@attribute f1 numeric\n@attribute f2 numeric\n"
        "@attribute class numeric\n\n@data\n\n"
    )

    def test_arff_of_opensmile(self, tmp_path):
        path = write(tmp_path / "a.arff", self.ARFF + "'noname',1.5,-2e-3,0\n")
        np.testing.assert_allclose(read_feature_file(path, 2), [1.5, -0.002])

    @pytest.mark.parametrize(
        "text",
        ["name;frameTime;f1;f2\n'x';0.0;1;2\n", "name,f1,f2\nx,1,2\n", "1,2\n", "1 2\n", "1\n2\n", "f1;f2\n1;2\n"],
    )
    def test_delimited(self, tmp_path, text):
        np.testing.assert_array_equal(read_feature_file(write(tmp_path / "a.csv", text)), [1, 2])

    @pytest.mark.parametrize(
        ("text", "message"),
        [("1,2\n", "holds 2 features, expected 3"), ("1,nan,2\n", "NaN"), ("1,2,3\n4,5,6\n", "2 rows"), ("", "0 rows")],
    )
    def test_bad_files_are_refused(self, tmp_path, text, message):
        with pytest.raises(CorpusError, match=message):
            read_feature_file(write(tmp_path / "a.csv", text), 3)

    def test_binary_files_are_refused(self, tmp_path):
        (tmp_path / "a.mat").write_bytes(b"MATLAB \xff\xfe\x80")
        with pytest.raises(CorpusError, match="not a readable text file"):
            read_feature_file(tmp_path / "a.mat")


class TestDescription:
    def make(self, root: Path) -> Corpus:
        for clip in ("angry/a_1", "angry/b_1", "angry/b_2", "happy/a_2"):
            write_tone(root / f"{clip}.wav")
        write(root / "sad/b_9.wav", "not media at all")
        return read_corpus(root, speaker_regex=r"(?P<speaker>[ab])_")

    def test_counts(self, tmp_path):
        description = describe_corpus(self.make(tmp_path))
        assert description.n_clips == 5
        assert description.counts["b"]["angry"] == 2
        assert description.class_counts == {**dict.fromkeys(EMOTIONS, 0), "angry": 3, "happy": 1, "sad": 1}
        assert description.imbalance == 3.0
        assert description.unreadable is None

    def test_warnings(self, tmp_path):
        text = "\n".join(describe_corpus(self.make(tmp_path)).warnings)
        assert "no clip of disgust, fear, neutral, surprise" in text
        assert "happy comes from one speaker (a)" in text
        assert "sad comes from one speaker (b)" in text
        assert "unequal" in text

    def test_a_split_that_is_partly_blank_is_warned_of(self, tmp_path):
        touch(tmp_path, "a.mp4", "b.mp4")
        table = write(tmp_path / "m.csv", "path,label,split\na.mp4,sad,test\nb.mp4,sad,\n")
        assert any("1 of 2 clips have no split" in one for one in describe_corpus(read_corpus(table)).warnings)

    def test_files_are_opened_on_demand(self, tmp_path):
        steps: list[tuple[int, int]] = []
        corpus = self.make(tmp_path)
        description = describe_corpus(corpus, check_media=True, progress=lambda done, n: steps.append((done, n)))
        assert [path.name for problem in description.unreadable for path in problem.paths] == ["b_9.wav"]
        assert description.durations.n_known == 4
        assert description.durations.total_s == pytest.approx(2.0, abs=0.05)
        assert steps[-1] == (5, 5)

    def test_a_clip_that_sets_off_anything_is_unreadable(self, tmp_path, monkeypatch):
        monkeypatch.setattr("moodreel.corpora.describe._measure_s", lambda sample: 1 // 0)
        description = describe_corpus(self.make(tmp_path), check_media=True)
        (problem,) = description.unreadable
        assert len(problem.paths) == 5 and "ZeroDivisionError" in problem.reason

    def test_a_part_is_as_long_as_it_is_and_one_behind_the_end_is_unreadable(self, tmp_path):
        write_tone(tmp_path / "a.wav", 10.0)
        rows = ["a.wav,sad,2,5", "a.wav,sad,8,", "a.wav,sad,9,30", "a.wav,sad,12,14"]
        table = write(tmp_path / "m.csv", "\n".join(["path,label,start_s,end_s", *rows]))
        description = describe_corpus(read_corpus(table), check_media=True)
        durations = description.durations
        assert (durations.n_known, durations.total_s, durations.longest_s) == pytest.approx((3, 6.0, 3.0))
        (problem,) = description.unreadable
        assert len(problem.paths) == 1 and "from 12 s on" in problem.reason and "ends at 10.0 s" in problem.reason

    def test_json_and_terminal(self, tmp_path):
        description = describe_corpus(self.make(tmp_path), check_media=True)
        assert json.loads(json.dumps(description.to_json()))["classes"]["angry"] == 3
        console = Console(width=120, record=True, file=(tmp_path / "out").open("w"))
        console.print(render_description(description, n_speakers=1))
        text = console.export_text()
        assert "5 clips of 2 known speakers" in text
        assert "1 more" in text
        assert "unreadable: 1 of 5 files" in text

    def test_hostile_names_cannot_steer_the_terminal(self, tmp_path):
        touch(tmp_path, "angry/\x1b[2J[red].wav", "angry/a\nb.wav", "\x1b[31mloose.mp4")
        console = Console(width=200, record=True, file=(tmp_path / "out").open("w"))
        console.print(render_description(describe_corpus(read_corpus(tmp_path), check_media=True)))
        text = console.export_text()
        assert "\x1b" not in text
        assert "\\x1b[31mloose.mp4" in text
        assert "2 clips of 0 known speakers" in text

    def test_unknown_and_lone_speakers(self, tmp_path):
        touch(tmp_path, "angry/a.mp4", "sad/b.mp4")
        assert any("unknown" in warning for warning in describe_corpus(read_corpus(tmp_path)).warnings)
        alone = read_corpus(tmp_path, speaker_regex="(?P<speaker>mp4)")
        assert any("one speaker only" in warning for warning in describe_corpus(alone).warnings)


def test_numbers_in_names_sort_as_numbers():
    assert sorted(["a10", "a9", "b", "10", "9"], key=natural_key) == ["9", "10", "a9", "a10", "b"]


class TestClassMap:
    """`--map` and `--ignore`: the corpus's own classes are what the user says."""

    @staticmethod
    def make(root, *labels):
        for label in labels:
            touch(root, f"{label}/a.wav")
        return root

    def test_clips_are_mapped_and_left_out_and_the_corpus_says_how(self, tmp_path):
        self.make(tmp_path, "joyful", "sad", "contempt")
        corpus = read_corpus(tmp_path, class_map=read_class_map(["joyful=happy"], ["contempt"]))
        assert [sample.label for sample in corpus.samples] == ["happy", "sad"]
        assert [str(problem).partition(":")[0] for problem in corpus.problems] == ["class 'contempt' ignored"]
        assert corpus.class_map == {"joyful": "happy", "contempt": "ignore"}

    def test_what_the_user_says_stands_before_what_moodreel_knows(self, tmp_path):
        self.make(tmp_path, "calm", "sad")
        assert read_corpus(tmp_path).samples[0].label == "neutral"
        assert read_corpus(tmp_path, class_map={"calm": "happy"}).samples[0].label == "happy"
        assert len(read_corpus(tmp_path, class_map={"calm": "ignore"}).samples) == 1

    def test_unknown_classes_are_all_named_with_the_ways_out(self, tmp_path):
        self.make(tmp_path, "joyful", "sad", "contempt")
        with pytest.raises(CorpusError, match=r"'contempt', 'joyful'.*--ignore contempt --map joyful=happy"):
            read_corpus(tmp_path)

    def test_a_corpus_of_ignored_classes_alone_is_refused(self, tmp_path):
        with pytest.raises(CorpusError, match=r"no clips.*class 'contempt' ignored"):
            read_corpus(self.make(tmp_path, "contempt"), class_map={"contempt": "ignore"})

    def test_a_class_that_no_clip_has_is_warned_of(self, tmp_path, caplog):
        read_corpus(self.make(tmp_path, "joyful"), class_map={"joyful": "happy", "contmpt": "ignore"})
        assert "no clip of class 'contmpt'" in caplog.text
