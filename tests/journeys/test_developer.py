"""A developer embeds the library in a program of her own, and later talks to the server from another one.

She starts from what `help(moodreel)` shows, hands in frames and sound from memory, keeps answers as JSON, spreads the
work over processes, and generates a client from the server's description.
"""

import pickle
import pydoc
import subprocess
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import av
import jsonschema
import numpy as np
import pytest

import moodreel
from moodreel import EMOTIONS, Arrays, MediaError, MoodreelError, Prediction, Recognizer
from running_server import client_of
from tiny_bundle import OFFSETS, write_tiny_bundle


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    adaptation = {"face": OFFSETS, "voice": OFFSETS}
    return Recognizer.load(write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny", adaptation=adaptation))


def test_the_example_of_the_help_runs_as_it_is_shown(face_clip, tmp_path):
    shown = pydoc.plain(pydoc.render_doc(moodreel))
    example = textwrap.dedent(shown.split("DESCRIPTION\n")[1].split("PACKAGE CONTENTS")[0])
    (tmp_path / "clip.mp4").write_bytes(face_clip.read_bytes())
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, f"{example}\n{done.stderr}"
    (label, *_), (start, end, *_) = (line.split() for line in done.stdout.splitlines()[:2])
    assert label in EMOTIONS and float(start) == 0 and float(end) == pytest.approx(3, abs=0.2)
    kept = Prediction.from_json(done.stdout[done.stdout.index("\n{") :])
    assert kept.label == label and kept.model.startswith("default ")


def test_every_public_name_is_in_the_help():
    shown = pydoc.plain(pydoc.render_doc(moodreel))
    assert [name for name in moodreel.__all__ if name not in shown] == ["__version__"]


def test_frames_and_sound_in_memory_are_read_as_the_file_is(recognizer, face_clip):
    with av.open(str(face_clip)) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    with av.open(str(face_clip)) as file:
        sound = np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], axis=1).reshape(-1)
    shares = []
    held = Arrays(frames=frames, frames_rate_hz=10, sound=sound, sound_rate_hz=16_000)
    answer = recognizer.predict(held, progress=shares.append)
    of_file = recognizer.predict(face_clip)
    np.testing.assert_allclose(answer.probabilities, of_file.probabilities, atol=0.05)
    assert answer.label == of_file.label and len(answer.people) == len(of_file.people) == 1
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_answers_survive_json_and_keep_their_shape(recognizer, face_clip):
    answer = recognizer.predict(face_clip)
    read = Prediction.from_json(answer.to_json())
    assert read == answer.rounded() and read == Prediction.from_dict(answer.to_dict())
    held = answer.to_dict()
    assert held["people"][0]["id"] == answer.people[0].id and held["adaptation"]["to"] == answer.adaptation.to
    assert [one["start_s"] for one in held["segments"]] == [one.start_s for one in answer.segments]


def test_clips_of_one_person_are_observed_and_then_concluded_together(recognizer, portrait_frames):
    """In a reddish light and in a greenish one, since what never varies tells nothing of a person."""
    tints = ((1.0, 0.5, 0.5), (0.5, 1.0, 0.5))
    takes = [[(np.asarray(frame) * tint).astype(np.uint8) for frame in portrait_frames[:20]] for tint in tints]
    seen = [recognizer.observe(Arrays(frames=take, frames_rate_hz=10)) for take in takes]
    together, alone = recognizer.conclude(seen[0], seen), recognizer.conclude(seen[0])
    assert together.adaptation.to == "folder" and together.adaptation.face_stretches == 2
    assert alone.adaptation is None and together.adaptation.moved > 0
    assert recognizer.conclude(seen[0], at_rest=seen[1]).adaptation.to == "baseline"


def test_a_pool_of_processes_answers_as_this_one(recognizer, face_clip):
    copied = pickle.loads(pickle.dumps(recognizer))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        answers = list(pool.map(copied.predict, [str(face_clip)] * 2))
    assert answers == [recognizer.predict(str(face_clip))] * 2


def test_what_goes_wrong_is_one_error_of_one_line(recognizer, tmp_path):
    (tmp_path / "text.mp4").write_text("no clip")
    for path in (tmp_path / "text.mp4", tmp_path / "missing.mp4"):
        with pytest.raises(MoodreelError) as caught:
            recognizer.predict(path)
        assert isinstance(caught.value, MediaError) and path.name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_client_can_be_generated_of_the_server(recognizer):
    with client_of(recognizer.bundle.path) as client:
        document = client.get("/openapi.json").json()
        models = client.get("/v1/models").json()
        assert client.get("/v1/model").status_code == client.post("/v1/prediction").status_code == 404
        told = client.get("/docs").text
    ids = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert len(set(ids)) == len(ids) and all(name.isidentifier() and name.islower() for name in ids)
    assert {"create_prediction", "read_job", "create_batch", "list_models"} <= set(ids)
    assert all(name in told for name in document["paths"]) and "http://" not in told.replace("http://127.0.0.1", "")
    assert no_tuples(document), "openapi-python-client reads no tuples"
    schema = {"$ref": "#/components/schemas/Models", "components": document["components"]}
    jsonschema.validate(models, schema)
    assert references(document) <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


def no_tuples(part):
    """Tell whether no array is described by a false `items` or by `prefixItems`."""
    if isinstance(part, dict):
        return part.get("items") is not False and "prefixItems" not in part and all(map(no_tuples, part.values()))
    return not isinstance(part, list) or all(map(no_tuples, part))


def references(part):
    """Return all that a description refers to."""
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*map(references, part.values()))
    return set().union(*map(references, part)) if isinstance(part, list) else set()
