"""What a joint network says before it has learned anything."""

import pytest

pytest.importorskip("torch")

import torch

from moodreel.training.networks import build_network
from moodreel.training.recipe import AudioRecipe, HeadRecipe, VideoRecipe


def answers(vote):
    torch.manual_seed(0)
    network = build_network(
        VideoRecipe(width=4, layers=1, scores=True),
        AudioRecipe(scores=True, skip=True, dense=(8,), dropout=0.0),
        HeadRecipe(dense=(8,), dropout=0.0, vote=vote),
        n_video=6,
        n_audio=7,
        n_looks=7,
    ).eval()
    looks, heard, there = torch.randn(50, 7), torch.randn(50, 7), torch.ones(50)
    with torch.inference_mode():
        logits = network(torch.randn(50, 3, 6), None, looks, heard, there, there).logits
    return logits, looks + heard


def test_a_voting_network_first_says_what_the_class_scores_say():
    logits, scores = answers(vote=True)
    assert (logits - scores).abs().max() < 0.3
    assert (logits.argmax(1) == scores.argmax(1)).float().mean() > 0.9


def test_without_votes_the_scores_have_to_be_learned():
    logits, scores = answers(vote=False)
    assert (logits.argmax(1) == scores.argmax(1)).float().mean() < 0.6
