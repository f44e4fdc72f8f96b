"""Servers that tests share. That of the API keeps its jobs, writes an access log and may call a web hook."""

import base64
from pathlib import Path

import pytest

from conftest import chirp
from drawn_library import FILMS, write_drawn_library
from media_files import write_clip, write_sound
from moodreel.serving.server.webhooks import WebhookRules
from running_server import client_of, running_server
from webhook_receiver import SECRET, receiving


@pytest.fixture(scope="session")
def receiver():
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def rules(receiver):
    return WebhookRules((receiver.url,), base64.b64decode(SECRET))


@pytest.fixture(scope="session")
def access_log(tmp_path_factory):
    return tmp_path_factory.mktemp("logs") / "access.jsonl"


@pytest.fixture(scope="session")
def client(tiny_bundle, tmp_path_factory, rules, access_log):
    settings = {"state": tmp_path_factory.mktemp("state"), "webhooks": rules, "access_log": access_log}
    with client_of(tiny_bundle, settings=settings) as client:
        yield client


@pytest.fixture(scope="session")
def guarded(tiny_bundle):
    """A client of a server that asks for a token."""
    with client_of(tiny_bundle, token="secret") as client:
        yield client


@pytest.fixture(scope="session")
def address(tiny_bundle):
    """Where a real server listens that everybody on this machine may use."""
    with running_server(tiny_bundle, "--workers", "1") as (address, _):
        yield address


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """A small library of drawn faces."""
    return write_drawn_library(tmp_path_factory.mktemp("drawn"), FILMS[:1] + FILMS[4:6])


@pytest.fixture(scope="session")
def library_address(tiny_bundle, drawn):
    """Where a real server listens that serves a library."""
    with running_server(tiny_bundle, "--workers", "1", "--library", str(drawn)) as (address, _):
        yield address


@pytest.fixture(scope="session")
def guarded_address(tiny_bundle):
    """Where a real server listens that asks for a token and takes clips of a megabyte."""
    options = ("--workers", "1", "--max-upload-mb", "1")
    with running_server(tiny_bundle, *options, MOODREEL_TOKEN="secret") as (address, _):
        yield address


@pytest.fixture(scope="session")
def sound(tmp_path_factory):
    return write_sound(tmp_path_factory.mktemp("sounds") / "a.wav", 3, sound=chirp)


@pytest.fixture(scope="session")
def long_clip(tmp_path_factory) -> Path:
    """Ten minutes that take a worker far longer than a test waits."""
    path = tmp_path_factory.mktemp("long") / "long.mkv"
    return write_clip(path, 600, rate=2, size=(32, 32), audio_codec="pcm_s16le", audio_rate=8000, sound=chirp)
