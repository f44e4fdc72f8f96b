"""Ray as a place where workers come from: clips are treated there as they are in processes here."""

import itertools
import sys
from pathlib import Path

import pytest

import readers_in_processes as readers
from moodreel.batch.clips import map_clips
from moodreel.batch.on_ray import joined_cluster
from moodreel.corpora import Sample
from moodreel.errors import MoodreelError, OutputError
from ray_cluster import add_node, other_node, started_cluster

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster():
    with pytest.MonkeyPatch.context() as patch, started_cluster(patch) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def crew(cluster):
    with joined_cluster(cluster.address) as crew:
        yield crew


def clips(n, folder="."):
    return [Sample(Path(folder), "happy", "eva", str(number), None, "made") for number in range(n)]


def read(crew, function, source, on_crash=repr, **options):
    return map_clips(function, source, 0, on_crash, crew=crew, **options)


def test_what_comes_of_clips_comes_in_their_order(crew):
    assert crew.count() == 2
    assert list(read(crew, readers.name_of, clips(20))) == [str(number) for number in range(20)]


def test_a_clip_that_kills_two_workers_is_given_up_and_the_others_go_on(crew):
    outcomes = list(read(crew, readers.crash_at_three, clips(8), lambda sample: f"lost {sample.clip_id}"))
    assert outcomes == ["0", "1", "2", "lost 3", "4", "5", "6", "7"]


def test_a_worker_that_dies_costs_its_clip_one_retry(crew, tmp_path):
    assert list(read(crew, readers.crash_once_at_three, clips(6, tmp_path), lambda _: "lost")) == list("012345")


@pytest.mark.parametrize("in_order", [True, False])
def test_clips_are_taken_only_as_workers_come_to_them(crew, in_order):
    """A driver that holds all files grows with their number."""
    taken = itertools.count(1)
    outcomes = read(crew, readers.slow_at_zero, taken, in_order=in_order)
    assert len(list(itertools.islice(outcomes, 30))) == 30
    outcomes.close()
    assert next(taken) < 50


def test_an_error_that_is_no_clips_doing_ends_the_map_as_it_is(crew, tmp_path):
    with pytest.raises(OutputError) as told:
        list(read(crew, readers.fail_at_three, clips(1000, tmp_path)))
    assert str(told.value) == "the disk is full", "a user reads one line, not Ray's report of it"
    assert len(list(tmp_path.iterdir())) < 100


def test_a_long_clip_is_shared_out_and_joined(crew, tmp_path):
    marker = tmp_path / "once"
    marker.touch()
    numbers = [7, 250, 31, 399]
    outcomes = read(crew, readers.double_by_pieces, [{"number": number, "marker": marker} for number in numbers])
    assert list(outcomes) == [2 * number for number in numbers]
    assert not marker.exists(), "no piece died"


def test_what_a_machine_held_goes_to_others_when_it_is_gone(cluster, crew):
    outcomes = read(crew, readers.slow_name, range(40), in_order=False)
    done = [next(outcomes) for _ in range(6)]
    cluster.remove_node(other_node(cluster), allow_graceful=False)
    assert sorted([*done, *outcomes]) == list(range(40))
    add_node(cluster)


def test_without_ray_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MoodreelError, match=r"^--ray needs Ray: pip install .*ray"), joined_cluster("auto"):
        pass


def test_a_cluster_out_of_reach_is_one_line(monkeypatch):
    def refuse(**_):
        raise ConnectionError("Could not find any running Ray instance.\nPlease look.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(MoodreelError) as told, joined_cluster("auto"):
        pass
    assert "\n" not in str(told.value) and "`ray start --head` starts one" in str(told.value)
