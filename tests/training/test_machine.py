"""What training asks of the processor: bf16 only where it is multiplied in hardware."""

import pytest

torch = pytest.importorskip("torch")

from moodreel.training.machine import choose_precision, multiplies_bf16

QUESTIONS = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")


def pretend(monkeypatch, *answers):
    """Let torch answer as on another processor."""
    for question, answer in zip(QUESTIONS, answers, strict=True):
        monkeypatch.setattr(torch.cpu, question, lambda answer=answer: answer, raising=False)


@pytest.mark.parametrize("answers", [(True, True), (True, False), (False, True)])
def test_bf16_where_the_processor_multiplies_it(monkeypatch, answers):
    pretend(monkeypatch, *answers)
    assert multiplies_bf16() and choose_precision() == "bf16-mixed"


def test_fp32_where_bf16_is_emulated(monkeypatch):
    pretend(monkeypatch, False, False)
    assert not multiplies_bf16() and choose_precision() == "32-true"


def test_fp32_where_torch_cannot_tell(monkeypatch):
    for question in QUESTIONS:
        monkeypatch.delattr(torch.cpu, question, raising=False)
    assert not multiplies_bf16()
