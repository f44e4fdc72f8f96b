"""The comparison with other recognisers: a peer that answers, one that finds no face, one that dies, and moodreel."""

import csv
import importlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moodreel.labels import EMOTIONS
from moodreel.recognition.fusion import read_fusion
from tiny_bundle import FUSION, write_tiny_bundle

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
REPLIES = f"""
import sys
sys.path.insert(0, {str(BENCHMARKS / "peers")!r})
from protocol import EMOTIONS, in_our_order, look_at_frames, serve
"""
BY_BRIGHTNESS = """
def look(picture, cut):
    print("a peer that chatters")
    if picture.max() == 0:
        return None
    return in_our_order({name: float(index == picture.mean() // 36) for index, name in enumerate(EMOTIONS)}, 0.005)
serve(lambda options: ("by brightness 1.0", look_at_frames(look)))
"""
DIES = "import os, signal\nsys.stderr.write('out of luck')\nsys.stderr.flush()\nos.kill(os.getpid(), signal.SIGKILL)\n"
LACKS = "def open_it(options):\n    import no_such_package\nserve(open_it)\n"


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("peers")


@pytest.fixture
def processes(peers):
    return importlib.import_module("peer_processes")


@pytest.fixture
def clips(peers):
    return importlib.import_module("peer_clips")


def write_pictures(folder, n_speakers=3):
    """Write a picture an emotion and speaker, of which the brightness tells the emotion."""
    rows = []
    for index, emotion in enumerate(EMOTIONS):
        for speaker in range(n_speakers):
            name = f"{emotion}{speaker}.png"
            Image.fromarray(np.full((32, 32, 3), 36 * index + 10, np.uint8)).save(folder / name)
            rows.append({"path": name, "label": emotion, "speaker": f"s{speaker}"})
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "label", "speaker"])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def run(peers, monkeypatch, capsys, corpus, fakes, *options):
    """Run the benchmark with stand-ins for the peers, and return its table lines by their first cell."""
    ours = peers.PEERS["moodreel"]
    stand_ins = {name: replace(ours, script=(str(path),)) for name, path in fakes.items()}
    monkeypatch.setattr(peers, "PEERS", {**stand_ins, "moodreel": ours})
    monkeypatch.setattr(peers, "measure_packages", lambda _: 1.0)
    named = [argument for name in fakes for argument in ("--peer", f"{name}={sys.prefix}")]
    monkeypatch.setattr(sys, "argv", ["peers.py", str(corpus), *named, *options])
    peers.main()
    lines = [line.strip("|").split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    found = {}
    for cells in lines:
        found.setdefault(cells[0].strip(), []).append([cell.strip() for cell in cells[1:]])
    return found


def write_fakes(folder, **bodies):
    for name, body in bodies.items():
        (folder / f"{name}.py").write_text(REPLIES + body)
    return {name: folder / f"{name}.py" for name in bodies}


def test_a_peer_is_scored_and_those_that_fail_stand_beside_it_with_their_error(peers, tmp_path, monkeypatch, capsys):
    fakes = write_fakes(tmp_path, bright=BY_BRIGHTNESS, dies=DIES, lacks=LACKS)
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write_pictures(corpus)
    model = write_tiny_bundle(tmp_path / "tiny")
    answers = tmp_path / "answers"
    found = run(peers, monkeypatch, capsys, corpus, fakes, "--model", str(model), "--cut", "--answers", str(answers))
    scores, recalls = found["by brightness 1.0, our crops"]
    assert scores[0] == "0" and scores[1].startswith("1.000"), "a peer that is always right has another UAR than 1"
    assert [float(cell) for cell in recalls] == [1.0] * 7
    assert "ended by SIGKILL: out of luck" in found["dies, our crops"][0][0]
    assert "no_such_package" in found["lacks, our crops"][0][0]
    assert "moodreel 0.1.0, face, our crops" in found
    written = [json.loads(line) for line in (answers / "corpus.jsonl").read_text().splitlines()]
    assert {line["what"] for line in written} == {"by brightness 1.0, our crops", "moodreel 0.1.0, face, our crops"}


def test_a_clip_without_an_answer_counts_as_a_guess_and_is_told(peers, tmp_path, monkeypatch, capsys):
    write_pictures(tmp_path)
    for speaker in range(3):
        Image.new("RGB", (32, 32)).save(tmp_path / f"sad{speaker}.png")
    fakes = write_fakes(tmp_path, bright=BY_BRIGHTNESS)
    model = write_tiny_bundle(tmp_path / "tiny")
    found = run(peers, monkeypatch, capsys, tmp_path / "manifest.csv", fakes, "--model", str(model), "--cut")
    scores, _ = found["by brightness 1.0, our crops"]
    assert scores[0] == "3", "three clips were black, and the peer had no answer to them"
    assert float(scores[1].split()[0]) < 1


def test_whole_clips_are_answered_by_moodreel_and_a_peer_sees_the_same_frames(peers, tmp_path, monkeypatch, capsys):
    write_pictures(tmp_path, n_speakers=1)
    fakes = write_fakes(tmp_path, bright=BY_BRIGHTNESS)
    model = write_tiny_bundle(tmp_path / "tiny")
    found = run(peers, monkeypatch, capsys, tmp_path / "manifest.csv", fakes, "--model", str(model))
    assert found["by brightness 1.0"][0][1].startswith("1.000")
    assert not {"moodreel 0.1.0, fused", "moodreel 0.1.0, face"} & set(found), "no picture shows a face to answer to"


def test_red_faces_that_are_cut_out_are_angry_to_the_tiny_bundle(processes, clips, tmp_path):
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[..., 0] = 250
    paths = clips.write_pictures([picture, picture], tmp_path / "face")
    options = {"model": str(write_tiny_bundle(tmp_path / "tiny")), "threads": 1}
    with processes.open_peer(("run_moodreel.py",), Path(sys.prefix)) as process:
        process.exchange(options)
        reply = process.exchange({"frames": paths, "cut": True})
    wanted = np.exp(2.5) / (np.exp(2.5) + 6)
    assert reply["face"][0] == pytest.approx(wanted, abs=1e-3)


def test_answers_held_out_stand_for_those_of_a_bundle_that_knows_the_person(peers, tmp_path):
    rows = np.full((2, 7), np.nan, np.float32)
    rows[0] = [3, 0, 0, 0, 0, 0, 0]
    voices = np.tile(np.array([0, 0, 0, 0, 0, 0, 5], np.float32), (2, 1))
    file = tmp_path / "held-out.npz"
    arrays = {"toy.clip": np.array(["a", "b"]), "toy.face.after": rows, "toy.voice.after": voices}
    np.savez(file, **arrays, **{"other.clip": np.array(["c"])})
    read = peers.read_held_out(file, ["b", "a", "not in it"])
    assert [row is None for pair in read for row in pair] == [True, False, False, False, True, True]
    face, voice = read[1]
    found = peers.fuse_held_out({"weights": [1.0, 0.0]}, face, voice, read_fusion(FUSION))
    assert int(np.argmax(found["fused, held out"])) == 0, "the voice has no weight, and still it decides"
    assert found["face, held out"] == pytest.approx(found["fused, held out"])
    assert peers.fuse_held_out({"weights": [0.0, 0.0]}, None, None, read_fusion(FUSION))["fused, held out"] is None
    assert peers.read_held_out(file, ["x", "y"]) is None


def test_frames_without_a_face_are_left_out_of_a_clips_mean(peers):
    assert peers.pool({"frames": [None, [1, 0], [0, 1]], "seconds": 1})[""] == [0.5, 0.5]
    assert peers.pool({"frames": [None], "seconds": 1})[""] is None


def test_a_peer_that_never_answers_is_ended(processes, tmp_path, monkeypatch):
    (tmp_path / "sleeps.py").write_text("import time\ntime.sleep(60)")
    monkeypatch.setattr(processes, "LONGEST_WAIT_S", 0.3)
    with (
        processes.open_peer((str(tmp_path / "sleeps.py"),), Path(sys.prefix)) as process,
        pytest.raises(processes.PeerError, match="SIGKILL"),
    ):
        process.exchange({})


def test_a_runner_that_writes_something_else_is_not_waited_for(processes, tmp_path, monkeypatch):
    (tmp_path / "chatters.py").write_text("import sys\nprint('hello')\nsys.stdin.read()")
    monkeypatch.setattr(processes, "LONGEST_END_S", 0.3)
    with (
        processes.open_peer((str(tmp_path / "chatters.py"),), Path(sys.prefix)) as process,
        pytest.raises(processes.PeerError, match="no line of JSON"),
    ):
        process.exchange({})


def test_an_environment_weighs_what_is_installed_in_it_without_the_installer(peers, tmp_path):
    for name in ("pip", "peer"):
        package = tmp_path / "lib" / "python3.11" / "site-packages" / name
        package.mkdir(parents=True)
        (package / "weights").write_bytes(bytes(2_000_000))
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "one.js").write_bytes(bytes(1_000_000))
    assert peers.measure_packages(tmp_path) == pytest.approx(3.0)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_a_runner_in_node_speaks_the_same_protocol(processes, clips, tmp_path):
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[0, 0] = [10, 13, 32]  # a line feed and a blank as the first pixels must not be taken for the header's
    paths = clips.write_pictures([picture], tmp_path / "face")
    script = tmp_path / "sum.cjs"
    look = "look: (p, cut) => inOurOrder({ happy: p.data[0] + p.data[2], sad: p.width, fear: cut ? p.height : 0 })"
    script.write_text(
        f"const {{ inOurOrder, serve }} = require({json.dumps(str(BENCHMARKS / 'peers' / 'protocol.cjs'))});\n"
        f"console.log('chatter');\nserve(async () => ({{ name: 'sum 1', {look} }}));\n"
    )
    with processes.open_peer((str(script),), tmp_path) as process:
        assert process.exchange({})["name"] == "sum 1"
        (row,) = process.exchange({"frames": paths, "cut": True})["frames"]
    assert row == pytest.approx(np.array([0, 0, 2, 42, 0, 3, 0]) / 47)


def test_every_runner_that_the_table_names_is_there(processes):
    for name, peer in processes.PEERS.items():
        assert (processes.RUNNERS / peer.script[0]).is_file(), f"{name} has no runner"
        if peer.script[0].endswith(".py"):
            subprocess.run([sys.executable, "-m", "py_compile", processes.RUNNERS / peer.script[0]], check=True)
