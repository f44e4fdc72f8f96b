"""What a joint network says before it has learned anything."""

import pytest

pytest.importorskip("torch")

import torch

from moodreel.training.joint.material import summarise
from moodreel.training.joint.networks import build_network, even_greys
from moodreel.training.joint.recipe import AudioRecipe, HeadRecipe, VideoRecipe


def answers(vote):
    torch.manual_seed(0)
    network = build_network(
        VideoRecipe(width=4, layers=1, scores=True),
        AudioRecipe(scores=True, skip=True, dense=(8,), dropout=0.0),
        HeadRecipe(dense=(8,), dropout=0.0, vote=vote),
        n_video=6,
        n_audio=7,
        n_picture_scores=7,
    ).eval()
    picture_scores, sound_scores, there = torch.randn(50, 7), torch.randn(50, 7), torch.ones(50)
    with torch.inference_mode():
        logits = network(torch.randn(50, 3, 6), None, picture_scores, sound_scores, there, there).logits
    return logits, picture_scores + sound_scores


def test_a_voting_network_first_says_what_the_class_scores_say():
    logits, scores = answers(vote=True)
    assert (logits - scores).abs().max() < 0.3
    assert (logits.argmax(1) == scores.argmax(1)).float().mean() > 0.9


def test_without_votes_the_scores_have_to_be_learned():
    logits, scores = answers(vote=False)
    assert (logits.argmax(1) == scores.argmax(1)).float().mean() < 0.6


def test_even_greys_forget_colour_light_and_contrast():
    picture = torch.randint(0, 256, (1, 3, 16, 16)).float()
    other = 40 + 0.5 * picture
    assert (even_greys(picture) - even_greys(other)).abs().mean() < 0.1
    assert even_greys(torch.full((1, 3, 8, 8), 90)).abs().max() < 1e-4
    assert torch.equal(even_greys(picture)[:, 0], even_greys(picture)[:, 2])


def test_a_clip_is_described_by_mean_deviation_and_course():
    rising = torch.arange(9.0)[:, None]
    mean, deviation, *course = summarise(rising).tolist()
    assert mean == 4 and deviation == pytest.approx((60 / 9) ** 0.5)
    assert course == [-3, 0, 3]
    assert summarise(torch.ones(1, 2)).tolist() == [1, 1, *[0] * 8]
