"""Everything that training the voice network depends on besides its data."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Schedule:
    """How one network is trained.

    Attributes:
        epochs: passes over the takes.
        n_batch: chunks per step.
        encoder_rate: learning rate of the last block; the one before takes `block_decay` times as much.
        block_decay: see `encoder_rate`.
        head_rate: learning rate of the heads.
        weight_decay: AdamW's.
        label_smoothing: share of the target spread over all known emotions.
        snr_weight: weight of the ratio's loss beside the emotion's.
        warmup: share of the steps in which the rate rises; it falls by half a cosine afterwards.
        average: decay of the weight averaging; the average is what is kept.
        first_block: the blocks before this one stay as they are.
    """

    epochs: int
    n_batch: int = 16
    encoder_rate: float = 2e-4
    block_decay: float = 0.7
    head_rate: float = 2e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    snr_weight: float = 0.1
    warmup: float = 0.1
    average: float = 0.98
    first_block: int = 0


@dataclass(frozen=True)
class VoiceRecipe:
    """A training of the voice network; the defaults gave the shipped one.

    Attributes:
        seed: decides all randomness.
        n_blocks: of the pretrained encoder that are kept.
        ravdess_copies: degraded copies of each RAVDESS take.
        nemo_copies: of each nEMO take; nEMO has enough takes of its own, and copies would cost more time than they
            bring.
        n_variants: variants of each RAVDESS take that the upper block is trained on.
        n_nemo_variants: nEMO takes that go along in that, so that what was learned there stays.
        transfer_step: every so many recordings of the corpus not trained on are read under all backgrounds, for time's
            sake.
        adapt: how the whole encoder is adapted on nEMO.
        tune: how the upper block is trained on RAVDESS and part of nEMO.
    """

    seed: int = 0
    n_blocks: int = 2
    ravdess_copies: int = 1
    nemo_copies: int = 0
    n_variants: int = 6
    n_nemo_variants: int = 1200
    transfer_step: int = 3
    adapt: Schedule = field(default_factory=lambda: Schedule(epochs=2))
    tune: Schedule = field(default_factory=lambda: Schedule(epochs=8, encoder_rate=3e-4, first_block=1))
