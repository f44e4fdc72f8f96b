"""A library over HTTP: what is found, files in ranges, thumbnails, and that nothing says where the files lie."""

import csv
import io
import os
import shutil
import threading
import time

import pytest
from PIL import Image

from drawn_library import BEAT_S, FILMS, Film, write_drawn_library
from made_library import make_library
from moodreel.errors import LibraryError
from moodreel.library.store import Store
from moodreel.library.upkeep import forget
from moodreel.serving.protocol.problems import KINDS, ProblemError
from moodreel.serving.server.media_files import read_range
from running_server import client_of

FOUR = FILMS[:1] + FILMS[2:3] + FILMS[4:6]
"""Two people at a party, one in an interview, a call without a picture, a talk."""
SEARCH = "/v1/library/search"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("somewhere secret")
    write_drawn_library(folder, FOUR)
    return folder


@pytest.fixture(scope="module")
def shelf(tiny_bundle, place):
    """A client of a server with a library."""
    with client_of(tiny_bundle, settings={"library": str(place / "lib")}) as client:
        yield client


def find(client, *queries, **options):
    response = client.get(SEARCH, params={"q": queries or ["not abstained"], **options})
    assert response.status_code == 200, response.text
    return response.json()


def problem(response, kind):
    body = response.json()
    assert body["type"] == f"urn:moodreel:problem:{kind}" and response.status_code == KINDS[kind][0], body
    assert "secret" not in response.text, "the answer says where the library lies"
    return body


def file_of(client, name):
    return next(one["file"] for one in find(client)["moments"] if one["file"]["name"] == name)


def test_what_it_holds(shelf):
    told = shelf.get("/v1/library").json()
    assert (told["n_files"], told["n_failed"]) == (4, 1)
    assert {one["value"]: one["n_files"] for one in told["folders"]} == {"interviews": 2, "talks": 1, "weddings": 1}
    assert (told["face"]["n_files"], told["voice"]["n_files"]) == (3, 3)
    assert told["unit"] == "month" and [one["date"] for one in told["strip"]][:2] == ["2024-05", "2024-06"]
    assert told["strip"][0]["n_files"] == 1 and told["strip"][1]["hours"] == 0


def test_moments_are_found(shelf):
    (moment,) = find(shelf, "surprise > 0.5", "folder = 'weddings'")["moments"]
    assert moment["file"]["name"] == "party's <b>.webm" and moment["file"]["folder"] == "weddings"
    assert 2 * BEAT_S <= moment["start_s"] < moment["end_s"] <= 3 * BEAT_S, "the party is surprised in its last third"
    assert moment["label"] == "surprise" and moment["curve"]["emotion"] == "surprise"
    assert max(moment["curve"]["values"]) == pytest.approx(moment["score"], abs=0.2)
    assert find(shelf, "surprise > 0.5", min_s=60)["moments"] == []


def test_more_come_page_by_page(shelf):
    whole = find(shelf, "not abstained", limit=100)
    pages = [find(shelf, "not abstained", limit=2, offset=offset)["moments"] for offset in range(0, 100, 2)]
    assert [one for page in pages for one in page] == whole["moments"]
    assert whole["n_moments"] == len(whole["moments"]) > 3 and whole["is_all"]


def test_moments_like_another(shelf):
    (moment,) = find(shelf, "surprise > 0.5", "folder = 'weddings'")["moments"]
    like = f"{moment['file']['id']},{moment['start_s']},{moment['end_s']}"
    told = shelf.get(SEARCH, params={"like": like}).json()["moments"]
    assert (told[0]["file"]["name"], told[0]["label"]) == ("opening.webm", "surprise"), "another's surprise is like it"
    assert told[0]["score"] == max(one["score"] for one in told)
    narrow = shelf.get(SEARCH, params={"like": like, "q": "folder = 'interviews'"}).json()["moments"]
    assert narrow and {one["file"]["folder"] for one in narrow} == {"interviews"}


def test_a_wrong_query_is_pointed_at(shelf):
    told = problem(shelf.get(SEARCH, params={"q": ["happy > .5", "face and angrry > 0.6"]}), "bad-query")
    assert "did you mean 'angry'?" in told["detail"] and "\n" not in told["detail"]
    assert told["pointer"] == "face and angrry > 0.6\n         ^^^^^^"


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({"q": "x" * 10_000}, "bad-query"),
        ({"q": ""}, "bad-query"),
        ({"q": "file = '\0'"}, "bad-query"),
        ({"q": "who = 1"}, "bad-query"),
        ({"q": "'; DROP TABLE windows; --"}, "bad-query"),
        ({"q": ["face"] * 5}, "bad-parameter"),
        ({}, "bad-parameter"),
        ({"like": "0" * 16 + ",0,1"}, "bad-query"),
        ({"like": "0" * 16 + ",3,1"}, "bad-parameter"),
        ({"like": "/etc/passwd,0,1"}, "bad-parameter"),
        ({"q": "face", "min_s": "nan"}, "bad-parameter"),
        ({"q": "face", "min_s": -1}, "bad-parameter"),
        ({"q": "face", "limit": 10**9}, "bad-parameter"),
    ],
)
def test_bad_input_is_told(shelf, asked, kind):
    problem(shelf.get(SEARCH, params=asked), kind)


def test_nothing_says_where_files_lie(shelf, place):
    file = file_of(shelf, "party's <b>.webm")
    texts = [shelf.get(SEARCH, params={"q": "not abstained"}).text, shelf.get("/v1/library").text]
    texts += [shelf.get(f"{SEARCH}.{kind}", params={"q": "face", "file": file["id"]}).text for kind in ("csv", "edl")]
    texts += [shelf.get(f"{file['media']}/timeline").text, str(shelf.get(file["media"]).headers)]
    for text in texts:
        assert str(place) not in text and "secret" not in text and "/films" not in text
    assert find(shelf, "file like '%secret%'")["moments"] == [], "asking finds out where files lie"


def test_a_file_is_served_in_ranges(shelf, place):
    file = file_of(shelf, "party's <b>.webm")
    whole = (place / "films" / "weddings" / "party's <b>.webm").read_bytes()
    response = shelf.get(file["media"])
    assert response.status_code == 200 and response.content == whole
    assert response.headers["content-type"] == "video/webm" and response.headers["accept-ranges"] == "bytes"
    assert response.headers["content-security-policy"] == "default-src 'none'; sandbox"
    for asked, part in {"bytes=0-9": whole[:10], "bytes=1000-": whole[1000:], "bytes=-7": whole[-7:]}.items():
        response = shelf.get(file["media"], headers={"Range": asked})
        assert response.status_code == 206 and response.content == part, asked
        assert response.headers["content-range"].endswith(f"/{len(whole)}")
        assert response.headers["content-length"] == str(len(part))
    beyond = shelf.get(file["media"], headers={"Range": f"bytes={len(whole)}-"})
    problem(beyond, "bad-range")
    assert beyond.headers["content-range"] == f"bytes */{len(whole)}"
    tag = response.headers["etag"]
    assert shelf.get(file["media"], headers={"If-None-Match": tag}).status_code == 304
    assert shelf.get(file["media"], headers={"If-Range": '"other"', "Range": "bytes=0-9"}).content == whole
    head = shelf.head(file["media"])
    assert head.status_code == 200 and head.content == b"" and head.headers["content-length"] == str(len(whole))


@pytest.mark.parametrize(
    ("value", "bounds"),
    [
        ("", None),
        ("bytes=0-0", (0, 1)),
        ("bytes=5-99999", (5, 100)),
        ("bytes=-99999", (0, 100)),
        ("bytes=0-1,5-6", None),
        ("bytes=9-2", None),
        ("bytes=-", None),
        ("items=0-1", None),
        ("bytes=٣-٤", None),
        ("bytes=100-", "bad-range"),
        ("bytes=-0", "bad-range"),
    ],
)
def test_ranges(value, bounds):
    if bounds != "bad-range":
        assert read_range(value, 100) == bounds
        return
    with pytest.raises(ProblemError) as error:
        read_range(value, 100)
    assert error.value.problem.kind == bounds


def test_only_what_stands_in_the_library_is_served(shelf):
    problem(shelf.get("/v1/library/files/" + "0" * 16), "not-found")
    for wrong in ("x", "..%2f..%2fetc%2fpasswd", "0" * 17, "'"):
        assert shelf.get(f"/v1/library/files/{wrong}").status_code in (404, 422)
    assert "damaged.mp4" not in str(find(shelf, "not abstained", limit=100)), "a file that failed is found"


def test_thumbnails_are_drawn_once_and_kept(shelf, place, tiny_bundle):
    (moment,) = find(shelf, "surprise > 0.5", "folder = 'weddings'")["moments"]
    response = shelf.get(moment["thumbnail"])
    assert response.status_code == 200 and response.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(response.content)) as image:
        assert image.size == (320, 180)
    (kept,) = (place / "lib" / "thumbnails").iterdir()
    assert kept.read_bytes() == response.content and kept.name.startswith(moment["file"]["id"])
    kept.write_bytes(b"\xff\xd8\xff another")
    with client_of(tiny_bundle, settings={"library": str(place / "lib")}) as again:
        assert again.get(moment["thumbnail"]).content == b"\xff\xd8\xff another", "it was drawn again"
    kept.unlink()
    tag = {"If-None-Match": response.headers["etag"]}
    assert shelf.get(moment["thumbnail"], headers=tag).status_code == 304


def test_what_has_no_picture_has_no_thumbnail(shelf):
    file = file_of(shelf, "call.wav")
    assert all(one["thumbnail"] is None for one in find(shelf, "name = 'call.wav'")["moments"])
    problem(shelf.get(f"/v1/library/thumbnails/{file['id']}/0"), "no-picture")
    problem(shelf.get(f"/v1/library/thumbnails/{file_of(shelf, 'opening.webm')['id']}/9999"), "no-picture")


def test_the_timeline_of_a_file(shelf):
    told = shelf.get(f"{file_of(shelf, FOUR[0].name.split('/')[1])['media']}/timeline").json()
    assert len(told["segments"]) == told["duration_s"] == 3 * BEAT_S
    assert [one["id"] for one in told["people"]] == [1, 2]
    assert told["segments"][BEAT_S + 1]["label"] == "happy" and told["segments"][0]["sound"] == "laughter"
    assert told["segments"][0]["voice"] is None and set(told["segments"][0]["face"]) >= {"happy", "sad"}


def test_moments_as_files(shelf):
    asked = {"q": "surprise > 0.5"}
    rows = list(csv.DictReader(io.StringIO(shelf.get(f"{SEARCH}.csv", params=asked).text)))
    assert {row["file"] for row in rows} == {"weddings/party's <b>.webm", "talks/opening.webm"}
    edl = shelf.get(f"{SEARCH}.edl", params=asked)
    assert edl.text.startswith("TITLE: moodreel") and "* FROM CLIP NAME: opening.webm" in edl.text
    assert edl.headers["content-disposition"] == 'attachment; filename="moments.edl"'
    file = file_of(shelf, "opening.webm")
    vtt = shelf.get(f"{SEARCH}.vtt", params={**asked, "file": file["id"]})
    assert vtt.text.startswith("WEBVTT") and vtt.text.count("-->") == 1
    problem(shelf.get(f"{SEARCH}.vtt", params=asked), "bad-parameter")
    problem(shelf.get(f"{SEARCH}.xlsx", params=asked), "bad-parameter")


def test_a_file_that_changed_or_went_is_not_served(tiny_bundle, tmp_path):
    lib = write_drawn_library(tmp_path, FOUR[2:3])
    path = tmp_path / "films" / FOUR[2].name
    with client_of(tiny_bundle, settings={"library": str(lib)}) as client:
        media = file_of(client, "call.wav")["media"]
        assert client.get(media).status_code == 200
        times = path.stat()
        (tmp_path / "secret.txt").write_text("x" * times.st_size)
        path.unlink()
        assert "is not there any more" in problem(client.get(media), "file-gone")["detail"]
        path.symlink_to("/etc/passwd")
        assert "has changed" in problem(client.get(media), "file-gone")["detail"]
        path.unlink()
        os.mkfifo(path)
        problem(client.get(media), "file-gone")


def test_a_file_that_is_forgotten_is_not_served(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("moodreel.serving.server.searches.LOOKS_EVERY_S", 0.0)
    monkeypatch.setattr("moodreel.serving.server.searches._FILE_KNOWN_S", 0.0)
    monkeypatch.setattr("moodreel.serving.server.searches._SHARE_OF_LOOKING", 1e9)
    lib = write_drawn_library(tmp_path, (FOUR[2], Film("talks/left.wav", (2024, 5), ("happy",))))
    with client_of(tiny_bundle, settings={"library": str(lib)}) as client:
        media = file_of(client, "call.wav")["media"]
        forget(Store.open(lib), str(tmp_path / "films" / "interviews"))
        problem(client.get(media), "not-found")
        assert "call.wav" not in str(find(client)), "a search does not see what was forgotten meanwhile"


def test_a_file_that_cannot_be_drawn_costs_itself_alone(tiny_bundle, tmp_path):
    bad, good = (Film(f"a/{name}.webm", (2024, 5), ("happy",)) for name in ("bad", "good"))
    lib = write_drawn_library(tmp_path, (bad, good))
    with client_of(tiny_bundle, settings={"library": str(lib)}) as client:
        moments = find(client)["moments"]
        (tmp_path / "films" / bad.name).write_bytes(b"no media any more")
        statuses = {one["file"]["name"]: client.get(one["thumbnail"]).status_code for one in moments}
        assert statuses == {"bad.webm": 404, "good.webm": 200}


def test_the_token_holds_for_every_call(tiny_bundle, place):
    with client_of(tiny_bundle, token="geheim", settings={"library": str(place / "lib")}) as client:
        shown = {"Authorization": "Bearer geheim"}
        moments = client.get(SEARCH, params={"q": "face"}, headers=shown).json()["moments"]
        media, thumbnail = moments[0]["file"]["media"], moments[0]["thumbnail"]
        plain = [media.partition("?")[0], thumbnail.partition("?")[0]]
        calls = ["/v1/library", f"{SEARCH}?q=face", f"{SEARCH}.csv?q=face", f"{plain[0]}/timeline", *plain]
        for call in calls:
            problem(client.get(call), "unauthorized")
            problem(client.get(call, headers={"Host": "evil.example"}), "wrong-host")
            problem(client.get(call, headers=shown | {"Sec-Fetch-Site": "cross-site"}), "foreign-origin")
            assert client.get(call, headers=shown).status_code == 200, call
        assert client.get(media).status_code == client.get(thumbnail).status_code == 200
        ticket = media.partition("?")[2]
        for call in (plain[1], f"{plain[0]}/timeline", "/v1/library", "/metrics"):
            problem(client.get(f"{call}?{ticket}"), "unauthorized")
        late = ticket.replace("ticket=", "ticket=1")
        for wrong in (ticket[:-1], late, "ticket=", "ticket=1.a", "ticket=99999999999.ä", "ticket=٣.a"):
            problem(client.get(f"{plain[0]}?{wrong}"), "unauthorized")
        assert client.request("POST", media).status_code == 401, "a ticket is for reading"


def test_a_server_without_a_library_says_so(client):
    for call in ("/v1/library", f"{SEARCH}?q=face", "/v1/library/files/" + "0" * 16):
        assert "--library" in problem(client.get(call), "not-found")["detail"]
    assert client.get("/healthz").json()["has_library"] is False


def test_a_server_does_not_start_with_no_library(tiny_bundle, tmp_path):
    with (
        pytest.raises(LibraryError, match="holds no library"),
        client_of(tiny_bundle, settings={"library": str(tmp_path)}),
    ):
        pass


def test_a_library_that_breaks_is_told_without_its_place(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("moodreel.serving.server.searches.LOOKS_EVERY_S", 0.0)
    monkeypatch.setattr("moodreel.serving.server.searches._SHARE_OF_LOOKING", 1e9)
    lib = write_drawn_library(tmp_path / "secret", FOUR[2:3])
    with client_of(tiny_bundle, settings={"library": str(lib)}) as client:
        find(client)
        make_library(tmp_path / "other", 1, 1)
        for part in (tmp_path / "other" / "files").iterdir():
            shutil.copy(part, lib / "files" / part.name)
        problem(client.get("/v1/library"), "library-unreadable")


ENDLESS = "SELECT count(*) FROM range(10000000000) first, range(10000) second WHERE first.range % 7 = second.range % 5"


def test_a_slow_search_is_broken_off_and_harms_no_other(tiny_bundle, place):
    with client_of(tiny_bundle, search_s=1.0, settings={"library": str(place / "lib")}) as client:
        searches = client.app.state.service.library.searches
        begun_s = time.monotonic()
        with pytest.raises(ProblemError) as error:
            client.portal.call(
                searches.ask, None, lambda library: library.read(lambda asked: asked.execute(ENDLESS).fetchall())
            )
        assert error.value.problem.kind == "search-too-slow"
        assert client.get("/healthz").status_code == 200
        while searches._n_open:
            assert time.monotonic() - begun_s < 60, "what was given up goes on"
            time.sleep(0.05)
        find(client, "face")


def test_too_many_searches_are_refused(tiny_bundle, place):
    with client_of(tiny_bundle, searches=1, settings={"library": str(place / "lib")}) as client:
        held, searches = threading.Event(), client.app.state.service.library.searches
        waiting = client.portal.start_task_soon(searches.ask, None, lambda _: held.wait(60))
        while not searches._n_open:
            time.sleep(0.01)
        response = client.get(SEARCH, params={"q": "face"})
        assert response.headers["retry-after"] == "1"
        problem(response, "queue-full")
        held.set()
        waiting.result()
        find(client, "face")
