"""`moodreel recipes` lists what ships and shows one; trainers of other packages join by entry point."""

from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

pytest.importorskip("yaml")
pytest.importorskip("torch")

from moodreel.cli import main as cli
from moodreel.errors import RecipeError
from moodreel.training import trainers
from moodreel.training.joint.recipe import SPEECH, load_recipe, shipped_names


def say(*arguments):
    done = CliRunner().invoke(cli.app, list(map(str, arguments)))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def test_all_are_listed_with_a_line_each():
    lines = say("recipes").splitlines()
    assert [line.split()[0] for line in lines] == list(shipped_names())
    assert all(len(line.split()) > 3 for line in lines)


def test_one_is_shown_as_it_stands_or_whole(tmp_path):
    assert say("recipes", "best").startswith("# The strongest joint network")
    (tmp_path / "mine.yaml").write_text("base: best\nfit: {epochs: 3}\n")
    assert say("recipes", tmp_path / "mine.yaml") == "base: best\nfit: {epochs: 3}\n"
    assert "epochs: 3" in (full := say("recipes", tmp_path / "mine.yaml", "--full")) and "cross_fit: 8" in full
    assert "class_weights" in say("recipes", "emonets", "--full")


def test_an_unknown_one_names_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'best'"):
        say("recipes", "bst")


def my_trainer(corpus, recipe, out, options):
    return {
        "split": f"{recipe} on {corpus}, fold {options.fold}",
        "speaker_independent": True,
        "warnings": [],
        "n_clips": {"train": 1},
    }


@pytest.fixture
def registered(monkeypatch):
    def register(name):
        entry = EntryPoint(name, "lab:my_trainer", trainers.PLUGINS)
        monkeypatch.setattr(trainers, "find_entries", lambda group: {name: entry})
        monkeypatch.setattr(trainers, "load_entry", lambda found: my_trainer)
        return SimpleNamespace(name=name)

    return register


def test_a_network_of_another_package_is_trained_by_its_name(registered, tmp_path):
    registered("my-net")
    assert "split: my-net on clips, fold 2" in say(
        "train", "clips", "--recipe", "my-net", "--fold", 2, "--out", tmp_path
    )
    assert "my-net" in say("recipes")


def test_no_plug_in_takes_the_place_of_a_recipe_that_ships(registered, tmp_path):
    registered("best")
    with pytest.raises(RecipeError, match="best: a recipe of moodreel's own and a plug-in"):
        say("train", "clips", "--recipe", "best", "--out", tmp_path)


@pytest.mark.parametrize("command", ["train", "tune"])
def test_training_defaults_to_the_recipe_without_a_research_licence(command):
    """`best` reads no openSMILE functionals, whose licence allows research alone."""
    from typer.main import get_command

    (recipe,) = [one for one in get_command(cli.app).commands[command].params if one.name == "recipe"]
    assert recipe.default == "best"
    assert load_recipe("best").audio.source == SPEECH
