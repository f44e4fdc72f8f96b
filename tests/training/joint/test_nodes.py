"""`train --nodes 2`: two machines under torchrun, here two processes with addresses of their own, fit what one does."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import moodreel
from tiny_corpus import changes_for, stand_in_functionals, write_corpus

torch = pytest.importorskip("torch")

from moodreel.errors import MoodreelError
from moodreel.training.joint.train import train
from moodreel.training.options import TrainOptions

SPEAKER = "(?P<speaker>[a-z]+)_"
STEADY = ("audio.dropout=0", "head.dropout=0", "fit.patience=0", "fit.schedule=constant")


def start_node(rank, port, corpus, cache, out, changes):
    rendezvous = ["--nnodes", "2", "--nproc-per-node", "1", "--node-rank", rank]
    rendezvous += ["--master-addr", "127.0.0.1", "--master-port", port, "--local-addr", f"127.0.0.{rank + 1}"]
    command = ["train", corpus, "--recipe", "audio", "--speakers", SPEAKER, "--cache", cache, "--out", out]
    settings = [part for change in changes for part in ("--set", change)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(moodreel.__file__).parents[1]),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
    }
    arguments = [*command, "--max-epochs", 2, "--nodes", 2, "--workers", 1, "--threads", 1, *settings]
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *map(str, [*rendezvous, "-m", "moodreel", *arguments])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="other systems give a loopback one address")
def test_two_machines_give_the_weights_of_one(tmp_path, monkeypatch):
    monkeypatch.setattr("moodreel.recognition.reading.extract_functionals", stand_in_functionals)
    corpus, cache = write_corpus(tmp_path / "corpus", ("ann", "bob", "cem", "dag")), tmp_path / "cache"
    changes = (*changes_for("audio"), *STEADY)
    options = TrainOptions(changes=changes, speaker_regex=SPEAKER, cache=cache, max_epochs=2)
    train(corpus, "audio", tmp_path / "one", options)  # fills the cache: the stand-in is not known elsewhere
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = [start_node(rank, port, corpus, cache, tmp_path / "two", changes) for rank in range(2)]
    try:
        told = [node.communicate(timeout=900) for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    assert [node.returncode for node in nodes] == [0, 0], told
    assert "bundle:" in told[0][0] and "bundle:" not in told[1][0], "one machine tells what came of it"
    one, two = (read_weights(tmp_path / run) for run in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5)
    assert (tmp_path / "two" / "bundle" / "bundle.json").exists()


def read_weights(run):
    return torch.load(run / "network-0" / "last.ckpt", weights_only=True)["state_dict"]


def test_machines_that_do_not_know_of_each_other_are_told_how_to_start(tmp_path):
    with pytest.raises(MoodreelError, match="--nodes 2: 1 were started; run `torchrun --nnodes 2"):
        train(tmp_path, "audio", tmp_path / "run", TrainOptions(nodes=2))
