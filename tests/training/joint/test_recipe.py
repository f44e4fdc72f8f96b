"""Recipes: strict YAML, with the line that is wrong and the nearest key that is known."""

from dataclasses import replace

import pytest

yaml = pytest.importorskip("yaml")

from moodreel.errors import RecipeError
from moodreel.training.joint.recipe import load_recipe, recipe_names
from moodreel.training.options import change_labels
from moodreel.training.strict_yaml import format_recipe


def refused(text, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as error:
        load_recipe(str(path))
    return str(error.value)


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_are_read_and_written_back(name, tmp_path):
    recipe = load_recipe(name)
    (tmp_path / "again.yaml").write_text(format_recipe(recipe))
    assert load_recipe(str(tmp_path / "again.yaml")) == recipe
    assert recipe.name == name and recipe.about


def test_unknown_key_names_line_and_nearest_key(tmp_path):
    message = refused("name: x\naudio:\n  directions: 6\n  shrinkge: none\n", tmp_path)
    assert "mine.yaml:4:" in message and "'audio.shrinkge' is unknown; did you mean 'shrinkage'?" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: x\naudio: {directions: six}\n", "mine.yaml:2: 'audio.directions' must be a whole number, found 'six'"),
        ("name: x\naudio: {scale: 1}\n", "'audio.scale' must be true or false, found 1"),
        ("name: x\naudio: {shrinkage: lots}\n", "must be one of none, ledoit_wolf, fixed, found 'lots'"),
        ("name: x\naudio: {dense: 5}\n", "'audio.dense' must be a list"),
        ("name: x\naudio: 5\n", "'audio' must be a mapping"),
        ("name: x\nname: y\naudio: {}\n", "mine.yaml:2: 'name' stands twice"),
        ("audio: {}\n", "lacks the key 'name'"),
        ("", "must be a mapping"),
        ("name: [", "not YAML"),
        ("name: x\n", "nothing to learn from"),
        ("name: x\nvideo: {}\n", "video needs frames"),
        ("name: x\naudio: {cross_fit: 4}\n", "audio.cross_fit needs audio.scores"),
        ("name: x\naudio: {}\nfit: {rate_low: 1, rate_high: 0.1}\n", "fit.rate_low"),
        ("name: x\nvideo: {expressions: true, frozen: false}\nframes: {}\n", "video.expressions stand beside a frozen"),
        ("name: x\nvideo: {expressions: true, scores: true, mirrored: true}\nframes: {}\n", "ResNet-20 alone"),
        ("name: x\nvideo: {}\nframes: {side_px: 4}\n", "side_px must lie within 8-512"),
    ],
)
def test_ill_typed_values_are_refused(text, expected, tmp_path):
    assert expected in refused(text, tmp_path)


def test_numbers_in_exponent_form_are_numbers(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: x\naudio: {}\nfit: {rate_low: 1e-8, rate_high: 1}\n")
    assert load_recipe(str(path)).fit.rate_low == 1e-8


def test_changes_override_and_are_checked_too():
    assert load_recipe("repaired", ["fit.epochs=3", "video.cells=2"]).fit.epochs == 3
    with pytest.raises(RecipeError, match="did you mean 'epochs'"):
        load_recipe("repaired", ["fit.epoch=3"])
    with pytest.raises(RecipeError, match="key=value"):
        load_recipe("repaired", ["fit.epochs"])


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'repaired'"):
        load_recipe("repared")


class TestBase:
    """`base: best`: a recipe changes some keys of another."""

    @staticmethod
    def load(tmp_path, text, changes=()):
        (tmp_path / "mine.yaml").write_text(text)
        return load_recipe(str(tmp_path / "mine.yaml"), changes)

    def test_only_what_is_said_is_changed(self, tmp_path):
        best = load_recipe("best")
        mine = self.load(tmp_path, "base: best\nfit:\n  epochs: 3\n")
        assert mine == replace(best, name="mine", fit=replace(best.fit, epochs=3))

    def test_a_part_can_be_taken_away(self, tmp_path):
        assert self.load(tmp_path, "base: best\naudio: null\n").audio is None

    def test_a_file_is_found_beside_the_recipe(self, tmp_path):
        (tmp_path / "lab.yaml").write_text("base: best\nname: lab\nseed: 7\n")
        mine = self.load(tmp_path, "base: lab.yaml\nfit: {epochs: 2}\n", ["fit.batch_size=4"])
        assert (mine.name, mine.seed, mine.fit.epochs, mine.fit.batch_size) == ("mine", 7, 2, 4)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("base: best\nfit:\n  epoch: 3\n", r"mine.yaml:3: 'fit.epoch' is unknown; did you mean 'epochs'"),
            ("base: best\nfit: {epochs: 1}\nfit: {epochs: 2}\n", r"mine.yaml:3: 'fit' stands twice"),
            ("base: bst\n", "bst: no recipe can be read there; did you mean 'best'"),
            ("base: mine.yaml\n", "leads back to itself"),
            ("base: [best]\n", "mine.yaml:1: 'base' must be"),
            ("base: best\nbase: paper\n", "mine.yaml:2: 'base' must be"),
        ],
    )
    def test_mistakes_are_told_with_their_own_line(self, tmp_path, text, message):
        with pytest.raises(RecipeError, match=message):
            self.load(tmp_path, text)


class TestLabels:
    """`labels:`: what the corpus's own classes are stands in the run's recipe."""

    def test_read_written_and_changed(self, tmp_path):
        (tmp_path / "mine.yaml").write_text("base: best\nlabels: {Joyful: happiness, contempt: ignore}\n")
        recipe = load_recipe(str(tmp_path / "mine.yaml"), change_labels(["bored=neutral", "a.b=sad"], []))
        assert recipe.labels == {"joyful": "happy", "contempt": "ignore", "bored": "neutral", "a.b": "sad"}
        (tmp_path / "again.yaml").write_text(format_recipe(recipe))
        assert load_recipe(str(tmp_path / "again.yaml")) == recipe

    def test_an_unknown_emotion_is_refused(self, tmp_path):
        assert "unknown emotion 'glad'" in refused("name: x\naudio: {}\nlabels: {joyful: glad}\n", tmp_path)
        assert "must be a mapping" in refused("name: x\naudio: {}\nlabels: [joyful]\n", tmp_path)
