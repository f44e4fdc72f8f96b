"""What all fits share: rates, weight averaging, class weights, the stop of a training that diverges."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from moodreel.errors import MoodreelError
from moodreel.training.fitting import (
    Course,
    Epochs,
    FitModule,
    check_losses,
    fit_module,
    scale_rate,
    weigh_classes,
)


@pytest.mark.parametrize("falls_from", [0, 10])
def test_rates_rise_along_a_line_and_fall_to_nothing(falls_from):
    rates = [scale_rate(step, 100, 10, falls_from) for step in range(101)]
    assert rates[:3] == [0.1, 0.2, 0.3]
    assert max(rates) == pytest.approx(1.0, abs=0.03)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(0.5, abs=0.08)
    assert rates[100] == 0


def test_a_schedule_of_nothing_but_warming_up_divides_by_nothing():
    assert scale_rate(0, 1, 1, 1) == 1


def test_classes_count_alike_whatever_their_number():
    counts = np.array([30, 10, 0, 60])
    weights = weigh_classes(counts).numpy()
    assert (weights * counts)[counts > 0] == pytest.approx([100 / 3] * 3)
    assert np.isfinite(weights).all()
    assert weigh_classes(counts, power=0.5).numpy()[0] == pytest.approx(np.sqrt(100 / 90))


def test_a_loss_that_is_not_finite_names_the_clips_and_the_way_out():
    losses = torch.tensor([1.0, float("nan"), float("inf")])
    with pytest.raises(MoodreelError) as error:
        check_losses(losses, "video", 7, 1e-3, ("a", "b", "c"))
    assert str(error.value) == "video, step 7: the loss is NaN or infinite on b, c; lower the learning rate (0.001)"
    check_losses(losses[:1], "video", 7, 1e-3, ("a",))


class Line(FitModule):
    """Learns one number, which each step draws towards what its batch says."""

    def measure_loss(self, batch):
        return 0.5 * (self.network.weight - batch).square().sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.network.parameters(), lr=1.0)


@pytest.mark.parametrize("is_warmed", [False, True])
def test_the_average_of_the_weights_is_what_is_kept(is_warmed):
    network = torch.nn.Linear(1, 1, bias=False)
    values = [3.0, 5.0, 2.0, 8.0]
    epochs = Epochs(len(values), lambda _: iter(map(torch.tensor, values)))
    fit_module(Line(network, "line"), epochs, Course(1, averaging=0.5, is_warmed=is_warmed))
    expected = values[0]
    for n, value in enumerate(values[1:], 1):
        decay = min(0.5, (1 + n) / (10 + n)) if is_warmed else 0.5
        expected = decay * expected + (1 - decay) * value
    assert float(network.weight.detach()) == pytest.approx(expected)
    assert not network.training
