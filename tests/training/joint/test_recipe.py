"""Recipes: strict YAML, with the line that is wrong and the nearest key that is known."""

import pytest

yaml = pytest.importorskip("yaml")

from moodreel.errors import RecipeError
from moodreel.training.joint.recipe import load_recipe, recipe_names
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
