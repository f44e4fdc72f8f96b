"""Several clips in one request: a job each, one status, and none that harms another."""

import jsonschema
import pytest

from moodreel.serving.server.predictions import TEXT_TYPES
from running_server import begin, client_of, upload, wait_until


def files(*clips):
    return [("file", clip if isinstance(clip, tuple) else (clip.name, clip.read_bytes())) for clip in clips]


def is_done(batch):
    return batch["state"] == "done"


def check(document, batch):
    schema = {"$ref": "#/components/schemas/Batch", "components": document["components"]}
    jsonschema.validate(batch, schema)
    return batch


def test_each_clip_has_a_job(client, sound):
    document = client.get("/openapi.json").json()
    clips = (sound, ("text.mp4", b"no clip"), ("../b.wav", sound.read_bytes()))
    response = client.post("/v1/batches", files=files(*clips))
    assert response.status_code == 202
    place = response.headers["location"]
    assert place == f"/v1/batches/{check(document, response.json())['id']}"
    batch = check(document, wait_until(is_done, client, place))
    told = [(job["clip"], job["state"]) for job in batch["jobs"]]
    assert told == [("a.wav", "done"), ("text.mp4", "failed"), ("b.wav", "done")] and batch["progress"] == 1
    job = f"/v1/predictions/{batch['jobs'][0]['id']}"
    assert client.get(job).json()["prediction"]["label"] == "surprise"
    assert client.get(f"{job}/timeline.csv").headers["content-type"].startswith(next(iter(TEXT_TYPES.values())))
    client.delete(job)
    assert [one["clip"] for one in client.get(place).json()["jobs"]] == ["text.mp4", "b.wav"]
    assert client.delete(place).status_code == 204
    assert client.get(place).status_code == client.delete(place).status_code == 404
    assert client.get(f"/v1/predictions/{batch['jobs'][2]['id']}").status_code == 404
    assert list(client.app.state.service.folder.iterdir()) == []


def test_clips_beyond_the_bounds_cost_themselves_alone(tiny_bundle, sound, tmp_path):
    with client_of(tiny_bundle, workers=1, waiting_jobs=2, batch_files=4, upload_bytes=sound.stat().st_size) as client:
        large = ("large.wav", bytes(sound.stat().st_size + 1))
        place = client.post("/v1/batches", files=files(large, sound, sound, sound)).headers["location"]
        jobs = client.get(place).json()["jobs"]
        problems = [job["problem"] and job["problem"]["type"].split(":")[-1] for job in jobs]
        assert problems == ["upload-too-large", None, None, "queue-full"]
        wait_until(is_done, client, place)
        assert client.get("/healthz").json()["places_taken"] == 0, "a place was not given back"
        small = ("x", b"")
        refused = client.post("/v1/batches", files=files(*[small] * 5))
        assert refused.status_code == 400 and "at most 4" in refused.json()["detail"]
        assert client.get("/healthz").json()["places_taken"] == 0
        assert list(client.app.state.service.folder.iterdir()) == []


def test_a_form_that_breaks_off_leaves_nothing(client):
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    for body, words in ((part * 2, "breaks off"), (b"--b--\r\n", "holds no file")):
        response = client.post("/v1/batches", content=body, headers=headers)
        assert response.status_code == 400 and words in response.json()["detail"]
    assert client.get("/healthz").json()["places_taken"] == 0
    assert list(client.app.state.service.folder.iterdir()) == []


def test_a_full_server_refuses_a_batch_before_it_comes(tiny_bundle, sound):
    with client_of(tiny_bundle, waiting_jobs=0) as client:
        client.app.state.service.book.take_place()
        response = client.post("/v1/batches", files=files(sound))
        assert response.status_code == 429 and int(response.headers["retry-after"]) >= 1


def test_a_batch_that_is_deleted_stops(client, long_clip, sound):
    running = begin(client, long_clip)
    place = client.post("/v1/batches", files=files(long_clip, long_clip)).headers["location"]
    assert client.get(place).json()["state"] == "queued"
    client.delete(running)
    wait_until(lambda batch: batch["state"] == "running", client, place)
    client.delete(place)
    assert client.post("/v1/predictions", files=upload(sound)).json()["label"] == "surprise"


def test_answers_of_a_batch_are_kept_until_it_is_done(tiny_bundle, sound, long_clip):
    with client_of(tiny_bundle, kept_jobs=1, keep_s=0) as client:
        place = client.post("/v1/batches", files=files(sound, sound, long_clip)).headers["location"]
        batch = wait_until(lambda batch: batch["jobs"][2]["state"] == "running", client, place)
        assert [job["state"] for job in batch["jobs"][:2]] == ["done", "done"]
        client.delete(f"/v1/predictions/{batch['jobs'][2]['id']}")
        assert client.get(place).status_code == 404


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/batches/", "/v1/batches/x/y", "/v1/batches/x"])
def test_a_typo_is_not_found(client, path):
    assert client.get(path).status_code == 404
