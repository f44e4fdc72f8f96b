"""The API through a test client: good clips, bad input, jobs, who may ask."""

import json
from importlib import resources

import jsonschema
import pytest

from media_files import damage, truncate, write_clip, write_image, write_sound
from moodreel.recognition.recognizer import Recognizer
from moodreel.serving.protocol.problems import KINDS
from moodreel.serving.protocol.replies import TextFormat
from moodreel.serving.server.predictions import choose_format
from moodreel.serving.server.uploads import clean_name
from running_server import ASYNC, client_of, upload


def problem(response, kind):
    """The answer is a problem of that kind, as RFC 9457 writes it; returns its detail."""
    body = response.json()
    assert body["type"] == f"urn:moodreel:problem:{kind}", body
    assert response.headers["content-type"] == "application/problem+json"
    assert response.status_code == body["status"] == KINDS[kind][0]
    assert "\n" not in body["detail"] and "/tmp" not in body["detail"]
    return body["detail"]


def uploads_left(client):
    return list(client.app.state.service.folder.iterdir())


def test_a_small_clip_is_answered_at_once_as_predict_answers(client, tiny_bundle, face_clip):
    response = client.post("/v1/predictions", files=upload(face_clip))
    expected = Recognizer.load(tiny_bundle, threads=1).predict(face_clip, name=face_clip.name).to_dict()
    assert response.status_code == 200 and response.json() == expected
    schema = json.loads((resources.files("moodreel") / "prediction.schema.json").read_text())
    jsonschema.validate(response.json(), schema)
    assert uploads_left(client) == [], "the clip is still on disk"


def test_a_job_is_polled_followed_read_and_deleted(client, sound):
    response = client.post("/v1/predictions", files=upload(sound), headers=ASYNC)
    assert response.status_code == 202 and response.json()["clip"] == "a.wav"
    place = response.headers["location"]
    events = client.get(f"{place}/events").text.strip().split("\n\n")
    assert events[-1].startswith("event: done\n") and all(one.startswith("event: progress\n") for one in events[:-1])
    job = client.get(place).json()
    assert job["state"] == "done" and job["prediction"]["label"] == "surprise"
    assert client.get(f"{place}/timeline.csv").text.startswith('"clip","person"')
    assert client.get(f"{place}/timeline.vtt").text.startswith("WEBVTT")
    assert client.delete(place).status_code == 204
    problem(client.get(place), "not-found")
    problem(client.delete(place), "not-found")
    assert uploads_left(client) == []


def test_a_failed_job_says_why(client, tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    place = client.post("/v1/predictions", files=upload(tmp_path / "empty.mp4"), headers=ASYNC).headers["location"]
    events = client.get(f"{place}/events").text.strip().split("\n\n")
    assert events[-1].startswith("event: failed\n")
    assert "is empty" in client.get(place).json()["problem"]["detail"]
    problem(client.get(f"{place}/timeline.csv"), "bad-media")


def test_what_takes_longer_is_a_job(tiny_bundle, sound):
    with client_of(tiny_bundle, answer_within_s=0) as client:
        response = client.post("/v1/predictions", files=upload(sound))
        assert response.status_code == 202
        assert client.get(response.headers["location"] + "/events").text.count("event: done") == 1


BAD = {
    "empty.mp4": lambda path: path.write_bytes(b""),
    "text.mp4": lambda path: path.write_text("hello " * 100),
    "cut off.mp4": lambda path: truncate(write_clip(path, 2), 0.5),
    "subtitles.srt": lambda path: path.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n"),
    "playlist.m3u8": lambda path: path.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"),
    "first frame cut.mkv": lambda path: truncate(write_clip(path, audio_codec=None), 0.3),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_media_is_named(client, tmp_path, name):
    path = tmp_path / name
    BAD[name](path)
    assert problem(client.post("/v1/predictions", files=upload(path)), "bad-media").startswith(f"{name}: ")


ODD = {
    "damaged.mkv": lambda path: damage(write_clip(path, 3, rate=25)),
    "truncated.mkv": lambda path: truncate(write_clip(path, 3), 0.6),
    "1x1.png": lambda path: write_image(path, write_grey(1, 1), codec="png", pix_fmt="rgb24"),
    "silent.mp4": lambda path: write_clip(path, audio_codec=None),
    "10 bit.mp4": lambda path: write_clip(path, pix_fmt="yuv422p10le"),
    "8 kHz.wav": lambda path: write_sound(path, audio_rate=8000),
    "5.1.wav": lambda path: write_sound(path, layout="5.1"),
    "turned.mp4": lambda path: write_clip(path, rotation=90),
}


def write_grey(height, width):
    import numpy as np

    return np.full((height, width, 3), 128, np.uint8)


@pytest.mark.parametrize("name", ODD)
def test_odd_media_is_read(client, tmp_path, name):
    path = tmp_path / name
    ODD[name](path)
    response = client.post("/v1/predictions", files=upload(path))
    assert response.status_code == 200 and response.json()["clip"] == name, response.json()


TRICKS = {
    "../../../etc/passwd": "passwd",
    "/etc/cron.d/evil": "evil",
    "C:\\Windows\\evil.exe": "evil.exe",
    "..": "clip",
    "": "clip",
    "a\nb\0c.mp4": "a\\nb\\x00c.mp4",
    "день 'x' \"y\".mp4": "день 'x' \"y\".mp4",
    "<script>alert(1)</script>": "script>",
    "x" * 5000: "x" * 200,
}


@pytest.mark.parametrize("name", TRICKS, ids=range(len(TRICKS)))
def test_tricks_in_names_stay_names(name):
    assert clean_name(name) == TRICKS[name]


def test_a_name_never_becomes_a_path(client, sound):
    response = client.post("/v1/predictions", files=upload(sound, "../../../../tmp/evil.wav"))
    assert response.json()["clip"] == "evil.wav"


FORMS = {
    "no form": ({}, b"abc", "not-multipart"),
    "json": ({"Content-Type": "application/json"}, b"{}", "not-multipart"),
    "no boundary": ({"Content-Type": "multipart/form-data"}, b"abc", "bad-upload"),
    "long boundary": ({"Content-Type": "multipart/form-data; boundary=" + "b" * 5000}, b"abc", "bad-upload"),
    "no parts": ({"Content-Type": "multipart/form-data; boundary=b"}, b"--b--\r\n", "bad-upload"),
    "garbage": ({"Content-Type": "multipart/form-data; boundary=b"}, b"garbage" * 100, "bad-upload"),
    "other field": (
        {"Content-Type": "multipart/form-data; boundary=b"},
        b'--b\r\nContent-Disposition: form-data; name="clip"; filename="a"\r\n\r\nx\r\n--b--\r\n',
        "bad-upload",
    ),
    "text field": (
        {"Content-Type": "multipart/form-data; boundary=b"},
        b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n',
        "bad-upload",
    ),
    "cut off": (
        {"Content-Type": "multipart/form-data; boundary=b"},
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx',
        "bad-upload",
    ),
    "two files": (
        {"Content-Type": "multipart/form-data; boundary=b"},
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n' * 2 + b"--b--\r\n",
        "bad-upload",
    ),
    "endless header": ({"Content-Type": "multipart/form-data; boundary=b"}, b"--b\r\nA: " + b"a" * 10**6, "bad-upload"),
}


@pytest.mark.parametrize("name", FORMS)
def test_malformed_forms_are_told(client, name):
    headers, body, kind = FORMS[name]
    problem(client.post("/v1/predictions", content=body, headers=headers), kind)
    assert uploads_left(client) == []
    assert client.get("/healthz").json()["places_taken"] == 0, "the place was not given back"


def test_sizes_are_bounded(tiny_bundle, sound, face_clip):
    with client_of(tiny_bundle, upload_bytes=1000, clip_s=2.0, picture_px=320 * 240 - 1) as client:
        problem(client.post("/v1/predictions", files={"file": ("a.wav", b"x" * 1001)}), "upload-too-large")
        chunks = (b"--b\r\n" for _ in range(100_000))
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        problem(client.post("/v1/predictions", content=chunks, headers=headers), "upload-too-large")
        assert uploads_left(client) == []
    with client_of(tiny_bundle, clip_s=2.0) as client:
        assert "expected at most 2 s" in problem(client.post("/v1/predictions", files=upload(sound)), "clip-too-long")
    with client_of(tiny_bundle, picture_px=320 * 240 - 1) as client:
        detail = problem(client.post("/v1/predictions", files=upload(face_clip)), "picture-too-large")
        assert "320x240" in detail


def test_a_full_queue_says_when_to_come_back(tiny_bundle, sound):
    with client_of(tiny_bundle, waiting_jobs=0) as client:
        client.app.state.service.book.take_place()
        response = client.post("/v1/predictions", files=upload(sound))
        problem(response, "queue-full")
        assert int(response.headers["retry-after"]) >= 1
        client.app.state.service.book.leave_place()
        assert client.post("/v1/predictions", files=upload(sound)).status_code == 200


def test_finished_jobs_are_forgotten(tiny_bundle, sound):
    with client_of(tiny_bundle, kept_jobs=1) as client:
        places = [client.post("/v1/predictions", files=upload(sound), headers=ASYNC).headers["location"] for _ in "ab"]
        for place in places:
            client.get(f"{place}/events")
        problem(client.get(places[0]), "not-found")
        assert client.get(places[1]).json()["state"] == "done"
    with client_of(tiny_bundle, keep_s=0) as client:
        place = client.post("/v1/predictions", files=upload(sound), headers=ASYNC).headers["location"]
        client.app.state.service.book.find(place.split("/")[-1])
        client.portal.call(client.app.state.service.book.find(place.split("/")[-1]).finish)
        problem(client.get(place), "not-found")


def test_foreign_names_and_sites_are_refused(client):
    problem(client.get("/", headers={"Host": "evil.example"}), "wrong-host")
    problem(client.get("/healthz", headers={"Host": "[::1"}), "wrong-host")
    problem(client.get("/healthz", headers={"Origin": "https://evil.example"}), "foreign-origin")
    problem(client.get("/healthz", headers={"Origin": "null"}), "foreign-origin")
    for name in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert client.get("/healthz", headers={"Host": name, "Origin": f"http://{name}"}).status_code == 200
    response = client.options("/v1/predictions", headers={"Access-Control-Request-Method": "POST"})
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("site", ["cross-site", "same-site"])  # another port of this machine is the same site
def test_calls_of_other_sites_are_refused_without_an_origin_too(client, sound, site):
    foreign = {"Sec-Fetch-Site": site}
    problem(client.get("/v1/models", headers=foreign), "foreign-origin")
    problem(client.get("/v1/predictions/x", headers=foreign | {"Sec-Fetch-Mode": "no-cors"}), "foreign-origin")
    problem(client.post("/v1/predictions", files=upload(sound), headers=foreign), "foreign-origin")
    assert client.get("/", headers=foreign | {"Sec-Fetch-Mode": "navigate"}).status_code == 200, "a link must work"
    for own in ("same-origin", "none"):
        assert client.get("/v1/models", headers={"Sec-Fetch-Site": own}).status_code == 200


def test_further_names_and_addresses_of_an_open_server(tiny_bundle):
    with client_of(tiny_bundle, host="0.0.0.0", names=("mood.example",), token="secret") as client:
        for name, status in {"mood.example": 200, "192.168.1.7:8000": 200, "evil.example": 421}.items():
            assert client.get("/healthz", headers={"Host": name}).status_code == status


def test_a_token_is_asked_for(guarded, sound):
    for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret"}):
        response = guarded.post("/v1/predictions", files=upload(sound), headers=given)
        problem(response, "unauthorized")
        assert response.headers["www-authenticate"] == "Bearer"
        problem(guarded.get("/metrics", headers=given), "unauthorized")
        problem(guarded.post("/v1/batches", files=upload(sound), headers=given), "unauthorized")
    assert guarded.get("/v1/models", headers={"Authorization": "bearer secret"}).status_code == 200
    for path in ("/healthz", "/", "/docs"):
        assert guarded.get(path).status_code == 200
    assert guarded.get("/openapi.json").json()["security"] == [{"token": []}]


def test_head_answers_as_get_does(client, sound):
    place = client.post("/v1/predictions", files=upload(sound), headers=ASYNC).headers["location"]
    assert "event: done" in client.get(f"{place}/events").text
    texts = [f"{place}/timeline.csv", f"{place}/events"]
    for path in ("/healthz", "/v1/models", "/openapi.json", "/", "/nothing", "/v1/predictions", place, *texts):
        head, get = client.head(path), client.get(path)
        assert head.status_code == get.status_code and head.content == b"", path
        assert head.headers == get.headers, path
    assert 'method="HEAD",route="/v1/models",status="200"' in client.get("/metrics").text


WRONG_METHODS = {
    "/v1/predictions": ("GET PUT HEAD DELETE OPTIONS", "POST"),
    "/v1/predictions/x": ("POST PUT", "DELETE, GET, HEAD"),
    "/healthz": ("POST", "GET, HEAD"),
    "/": ("POST PUT", "GET, HEAD"),
}


@pytest.mark.parametrize("path", WRONG_METHODS)
def test_a_wrong_method_is_told_with_all_right_ones(client, path):
    methods, right = WRONG_METHODS[path]
    for method in methods.split():
        response = client.request(method, path)
        assert response.status_code == 405 and response.headers["allow"] == right, method
        assert method == "HEAD" or problem(response, "method-not-allowed") == "see the header Allow"


def test_every_answer_is_closed_to_other_sites(client):
    for place in ("/", "/healthz", "/nothing"):
        policy = client.get(place).headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy


def test_models_and_metrics(client, sound):
    (model,) = client.get("/v1/models").json()["models"]
    assert model["name"] == "tiny" and model["labels"][0] == "angry"
    client.post("/v1/predictions", files=upload(sound))
    for method in ("BREW", "STEEP"):
        client.request(method, "/healthz")
    text = client.get("/metrics").text
    assert 'moodreel_job_seconds_count{outcome="ok"}' in text and "a.wav" not in text
    assert "BREW" not in text, "a client may make up any number of methods"


def test_the_description_is_complete(client):
    document = client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], path
            bodies = {"request": operation.get("requestBody", {}), **operation["responses"]}
            for status, body in bodies.items():
                for kind, content in body.get("content", {}).items():
                    assert "example" in content or content["examples"], (method, path, status, kind)
    validator = {**document["components"]["schemas"]["Prediction"], "components": document["components"]}
    example = document["paths"]["/v1/predictions"]["post"]["responses"]["200"]["content"]["application/json"]["example"]
    jsonschema.validate(example, validator)


def test_a_clip_that_is_answered_at_once_has_an_id_too(client, sound):
    response = client.post("/v1/predictions", files=upload(sound))
    place = response.headers["content-location"]
    assert client.get(place).json()["prediction"] == response.json()
    assert client.get(f"{place}/timeline.vtt").text.startswith("WEBVTT")
    assert client.delete(place).status_code == 204
    problem(client.get(place), "not-found")


def test_answers_that_were_given_make_room_for_those_that_wait(tiny_bundle, sound):
    with client_of(tiny_bundle, kept_jobs=1) as client:
        waits = client.post("/v1/predictions", files=upload(sound), headers=ASYNC).headers["location"]
        client.get(f"{waits}/events")
        given = client.post("/v1/predictions", files=upload(sound)).headers["content-location"]
        assert client.get(waits).json()["state"] == "done"
        problem(client.get(given), "not-found")


ACCEPTS = {
    "text/csv": TextFormat.CSV,
    "text/vtt": TextFormat.VTT,
    "text/vtt;q=0.9, application/json;q=0.5": TextFormat.VTT,
    "text/csv;q=0.2, */*": None,
    "text/csv;q=0": None,
    "text/csv;q=much": None,
    "text/html,application/xhtml+xml,*/*;q=0.8": None,
    "image/png": None,
    "*/*": None,
    "": None,
}


@pytest.mark.parametrize("accept", ACCEPTS)
def test_the_format_that_is_liked_best_is_chosen(accept):
    assert choose_format(accept) == ACCEPTS[accept]


def test_text_is_answered_to_who_accepts_it(client, sound):
    response = client.post("/v1/predictions", files=upload(sound), headers={"Accept": "text/csv"})
    assert response.headers["content-type"].startswith("text/csv") and response.text.startswith('"clip",')
    place = response.headers["content-location"]
    assert client.get(place, headers={"Accept": "text/vtt"}).text.startswith("WEBVTT")
    assert client.get(place).json()["state"] == "done"
    assert response.headers["vary"] == client.get(place).headers["vary"] == "Accept"


@pytest.mark.parametrize(
    "path", ["/v1/prediction", "/v1/predictions/", "/v1/modles", "/v1/predictions/x/timeline", "/x"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_a_typo_in_a_path_is_not_found_whatever_the_method(client, path, method):
    problem(client.request(method, path), "not-found")


def test_the_description_can_be_made_a_client_of(client):
    document = client.get("/openapi.json").json()
    text = json.dumps(document)
    assert '"items": false' not in text and "prefixItems" not in text, "openapi-python-client reads no tuples"
    ids = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert sorted(ids) == sorted([
        "create_prediction", "read_job", "delete_job", "follow_job", "read_timeline", "list_models", "check_health",
        "read_metrics", "create_batch", "read_batch", "delete_batch", "read_library", "search_library",
        "download_moments", "read_file", "read_file_timeline", "read_thumbnail",
    ])  # fmt: skip


@pytest.mark.parametrize("path, name", [("/v1/models", "Models"), ("/healthz", "Health")])
def test_what_is_told_matches_its_schema(client, path, name):
    document = client.get("/openapi.json").json()
    told = client.get(path).json()
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    jsonschema.validate(told, schema)
    (one,) = told.get("models", [told])
    assert set(one) == set(document["components"]["schemas"][name.removesuffix("s")]["required"])
