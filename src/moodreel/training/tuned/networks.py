"""Networks tuned below their last layers: how far is decided on speakers who are set aside for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from moodreel.bundle import Bundle, read_network
from moodreel.recognition.fusion import Fusion
from moodreel.storage.cache import Cache
from moodreel.training.calibration.choose import AskedClip, refit
from moodreel.training.progress import phase
from moodreel.training.tuned.clips import TunedClip
from moodreel.training.tuned.face_bench import FaceBench
from moodreel.training.tuned.heads import NO_CORRECTION
from moodreel.training.tuned.tune import Refitted, Tuned, correct, cost_of, deal, tune
from moodreel.training.tuned.voice_bench import VoiceBench
from moodreel.training.tuned.watched_fit import Watch

NETWORK_LEVELS = ("last-block", "all")


class Bench(Protocol):
    """Where one network is tuned below its last layer; see `VoiceBench`."""

    def fit(
        self,
        clips: Sequence[TunedClip],
        correction: Any,
        fusion: Fusion,
        seed: int,
        watch: Watch | None = None,
        n_epochs: int | None = None,
    ) -> tuple[Any, int]:
        """Fit; returns the network and for how many epochs, 0 for none."""

    def move(self, branch: Any, clip: TunedClip) -> TunedClip:
        """Return a clip as a network sees or hears it."""

    def write(self, branch: Any, clips: Sequence[TunedClip]) -> bytes:
        """Return a network as ONNX."""


class Workshop:
    """The benches of a bundle's networks, opened when a clip asks for them."""

    def __init__(self, base: Bundle, cache: Cache, level: str, seed: int) -> None:
        """Store what they work on.

        Args:
            base: the bundle.
            cache: where what its networks were given stands.
            level: how far down networks are tuned, one of `NETWORK_LEVELS`.
            seed: decides all randomness.
        """
        self._base, self._cache, self._is_whole, self._seed = base, cache, level == "all", seed
        self._benches: dict[str, Bench] = {}

    def tune(self, clips: Sequence[TunedClip], groups: Sequence[str], present: Fusion) -> Tuned:
        """Tune networks, last layers and fusion to all clips given.

        A fifth of the groups is set aside; the last layers are fitted to the others, and from there the networks, until
        the answers to those set aside get no better. Then both are fitted to all clips, the networks for as many epochs
        as helped. The calibration is chosen on the answers to the groups set aside, pulled to that of the last layers.

        Args:
            clips: as in `moodreel.training.tuned.tune.tune`, read with what the networks were given.
            groups: as there.
            present: as there.
        """
        fold_of = deal(clips, groups)
        rest = [clip for clip, fold in zip(clips, fold_of, strict=True) if fold]
        aside = [clip for clip, fold in zip(clips, fold_of, strict=True) if not fold]
        rest_groups = [group for group, fold in zip(groups, fold_of, strict=True) if fold]
        if not rest:
            return tune(clips, groups, present, "heads")
        start = tune(rest, rest_groups, present, "heads")
        tried = {name: self._fit(name, rest, start, present, aside) for name in start.corrections}
        helped = {name: found for name, found in tried.items() if found[1]}
        whole = tune(clips, groups, present, "heads")
        if not helped:
            return whole
        asked = tuple(
            AskedClip(clip.sample, correct(_move(self, helped, clip), start.corrections).description.logits)
            for clip in aside
        )
        calibration = refit(asked, start.calibration)
        assert isinstance(calibration, Fusion)
        refitted = {name: self._refit(name, clips, whole, present, n) for name, (_, n) in helped.items()}
        return Tuned(whole.corrections, whole.pulls, calibration, asked, refitted)

    def bench(self, name: str) -> Bench:
        """Return the bench of `face` or `voice`.

        Raises:
            BundleError: the network is not one that moodreel trained.
        """
        if name not in self._benches:
            graph = read_network(self._base.path, self._base.networks[name])
            bench = FaceBench if name == "face" else VoiceBench
            self._benches[name] = bench(graph, self._cache, is_whole=self._is_whole)
        return self._benches[name]

    def _fit(
        self, name: str, clips: Sequence[TunedClip], start: Tuned, present: Fusion, aside: Sequence[TunedClip]
    ) -> tuple[Any, int]:
        watched = _those_with(name, aside)
        bench, correction = self.bench(name), start.corrections.get(name, NO_CORRECTION)

        def watch(network: Any) -> float:
            if not watched:
                return 0.0
            moved = [correct(bench.move(network, clip), {name: correction}) for clip in watched]
            return cost_of(moved, present, name)

        with phase(f"tuning the {name} network"):
            return bench.fit(_those_with(name, clips), correction, present, self._seed, watch)

    def _refit(self, name: str, clips: Sequence[TunedClip], whole: Tuned, present: Fusion, n_epochs: int) -> Refitted:
        bench, own = self.bench(name), _those_with(name, clips)
        correction = whole.corrections.get(name, NO_CORRECTION)
        with phase(f"tuning the {name} network to all"):
            network, _ = bench.fit(own, correction, present, self._seed, n_epochs=n_epochs)
        return Refitted(n_epochs, partial(bench.move, network), partial(bench.write, network, own))


def _move(shop: Workshop, networks: Mapping[str, tuple[Any, int]], clip: TunedClip) -> TunedClip:
    for name, (network, _) in networks.items():
        clip = shop.bench(name).move(network, clip)
    return clip


def _those_with(name: str, clips: Sequence[TunedClip]) -> list[TunedClip]:
    return [clip for clip in clips if getattr(clip.description, name) is not None]
