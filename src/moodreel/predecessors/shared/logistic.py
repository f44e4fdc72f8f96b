"""Regularised logistic regression on scaled columns, as a pipeline of scikit-learn and as a layer."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn


def make_logistic(penalty: float) -> Pipeline:
    """Return an unfitted regression.

    Args:
        penalty: C, the inverse of the regularisation.
    """
    return make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=100, class_weight="balanced"))


def to_module(fitted: Any) -> nn.Module:
    """Return a fitted classifier as a network: rows (n, d) to probabilities (n, n_classes).

    Args:
        fitted: out of `make_logistic`, or an estimator with a `to_module` of its own.
    """
    if not isinstance(fitted, Pipeline):
        module: nn.Module = fitted.to_module()
        return module.float().eval()
    scaler, logistic = (step for _, step in fitted.steps)
    slopes = logistic.coef_ / scaler.scale_
    offsets = logistic.intercept_ - slopes @ scaler.mean_
    if len(slopes) == 1:  # scikit-learn keeps one row for two classes
        slopes, offsets = (torch.cat([-value, value]) / 2 for value in map(torch.from_numpy, (slopes, offsets)))
    layer = nn.Linear(slopes.shape[1], len(slopes))
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(slopes))
        layer.bias.copy_(torch.as_tensor(offsets))
    return nn.Sequential(layer, nn.Softmax(dim=1)).requires_grad_(False)
