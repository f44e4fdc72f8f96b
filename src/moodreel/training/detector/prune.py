"""A narrower detector that begins as close to its teacher as it can.

Channels between blocks stay, so that what a block adds fits; channels within a block go. Those stay that move the
block's output most, and the block's last layer is fitted anew by least squares, to what the whole block gave (He,
Zhang, Sun 2017, "Channel Pruning for Accelerating Very Deep Neural Networks").
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moodreel.training.detector.network import Block, Detector, Widths

_RIDGE = 1e-3
_LEAST_RIDGE = 1e-9
_MOST_CELLS = 20_000


@torch.no_grad()
def prune(teacher: Detector, widths: Widths, scenes: Tensor, generator: torch.Generator) -> Detector:
    """Return a student of other widths whose blocks give about what the teacher's give.

    Args:
        teacher: stays as it is.
        widths: none larger than the teacher's.
        scenes: RGB 0-255, shape (n, 3, h, w).
        generator: decides on which cells layers are fitted.
    """
    student = Detector(widths)
    for name in ("laterals", "ups", "shared", "heads"):
        getattr(student, name).load_state_dict(getattr(teacher, name).state_dict())
    theirs = torch.relu(teacher.stem(scenes))
    stem_kept = _rank(theirs, _outgoing(teacher.first.filter.weight, teacher.first.narrow.weight))[: widths.stem]
    _keep(student.stem, teacher.stem, stem_kept, None)
    ours = torch.relu(student.stem(scenes))
    _narrow(student.first, teacher.first, stem_kept, ours, teacher.first(theirs), None, generator)
    theirs, ours = teacher.first(theirs), student.first(ours)
    for block, model in zip(student.blocks, teacher.blocks, strict=True):
        assert isinstance(block, Block) and isinstance(model, Block)
        hidden = model.hide(theirs)
        kept = _rank(hidden, model.narrow.weight[:, :, 0, 0])[: block.narrow.in_channels]
        wanted = model(theirs)
        _narrow(block, model, kept, ours, wanted, ours if block.adds else None, generator)
        theirs, ours = wanted, block(ours)
    return student.eval()


def _outgoing(filters: Tensor, narrow: Tensor) -> Tensor:
    """How each channel reaches the block's output, shape (n_out, n)."""
    return narrow[:, :, 0, 0] * filters.abs().sum(dim=(1, 2, 3))


def _rank(hidden: Tensor, outgoing: Tensor) -> Tensor:
    """Order channels by how much they move the output: their deviation times the norm of their weights."""
    moved = hidden.transpose(0, 1).flatten(1).std(dim=1) * outgoing.norm(dim=0)
    order: Tensor = moved.argsort(descending=True)
    return order


def _narrow(
    block: Block,
    model: Block,
    kept: Tensor,
    given: Tensor,
    wanted: Tensor,
    added: Tensor | None,
    generator: torch.Generator,
) -> None:
    """Take the kept channels over, and fit the last layer to what is wanted of the block."""
    if block.widen is not None and model.widen is not None:
        _keep(block.widen, model.widen, kept, None)
    _keep(block.filter, model.filter, kept, None)
    hidden = _to_rows(block.hide(given))
    target = _to_rows(wanted if added is None else wanted - added)
    some = torch.randperm(len(hidden), generator=generator)[:_MOST_CELLS]
    hidden, target = hidden[some].double(), target[some].double()
    centre, middle = hidden.mean(dim=0), target.mean(dim=0)
    scatter = (hidden - centre).T @ (hidden - centre) / len(hidden)
    scatter += (_RIDGE * scatter.diagonal().mean() + _LEAST_RIDGE) * torch.eye(len(scatter), dtype=torch.float64)
    weights = torch.linalg.solve(scatter, (hidden - centre).T @ (target - middle) / len(hidden)).T
    block.narrow.weight.copy_(weights[:, :, None, None])
    block.narrow.bias.copy_(middle - weights @ centre)  # type: ignore[union-attr]


def _to_rows(maps: Tensor) -> Tensor:
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


def _keep(layer: nn.Conv2d, model: nn.Conv2d, outputs: Tensor, inputs: Tensor | None) -> None:
    weight = model.weight[outputs]
    layer.weight.copy_(weight if inputs is None else weight[:, inputs])
    assert layer.bias is not None and model.bias is not None
    layer.bias.copy_(model.bias[outputs])
