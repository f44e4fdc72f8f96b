"""What this installation is and can do: for a user's first look, and for a report of a fault."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from moodreel import __version__
from moodreel.bundle import Bundle, find_bundles, load_bundle
from moodreel.errors import BundleError

DECODERS = (
    "h264",
    "hevc",
    "vp9",
    "av1",
    "mpeg4",
    "vp6f",
    "mjpeg",
    "png",
    "aac",
    "mp3",
    "opus",
    "vorbis",
    "flac",
    "pcm_s16le",
)
PACKAGES = ("av", "numpy", "onnxruntime", "pillow", "torch", "lightning", "opensmile")


@dataclass(frozen=True)
class BundleState:
    """One bundle that ships with the package.

    Attributes:
        title: name and version; the name alone when it cannot be opened.
        licence: licence of its weights.
        size_mb: size of its folder in MB.
        networks_mb: of that, its networks.
        providers: execution providers that its networks really run on.
        problem: why it cannot be used; `None` when it can.
    """

    title: str
    licence: str
    size_mb: float
    networks_mb: float
    providers: tuple[str, ...]
    problem: str | None


@dataclass(frozen=True)
class Examination:
    """What `moodreel doctor` found.

    Attributes:
        versions: package and version, `None` where it is not installed.
        decoders: decoder and whether it is there.
        bundles: what ships with the package.
        installed_mb: size on disk of moodreel and everything its base install pulls in, in MB.
        largest_mb: the five largest of these, name and MB.
    """

    versions: tuple[tuple[str, str | None], ...]
    decoders: tuple[tuple[str, bool], ...]
    bundles: tuple[BundleState, ...]
    installed_mb: float
    largest_mb: tuple[tuple[str, float], ...]


def examine() -> Examination:
    """Look at versions, decoders, bundles and sizes."""
    import av

    sizes = measure_base_install()
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:5]
    return Examination(
        versions=tuple((name, _version(name)) for name in PACKAGES),
        decoders=tuple((name, name in av.codecs_available) for name in DECODERS),
        bundles=tuple(_examine_bundle(name) for name in find_bundles()),
        installed_mb=sum(sizes.values()),
        largest_mb=tuple(largest),
    )


def measure_base_install() -> dict[str, float]:
    """Return the size on disk, in MB, of moodreel and of each package that its base install pulls in."""
    sizes: dict[str, float] = {}
    waiting = ["moodreel"]
    while waiting:
        name = waiting.pop()
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        own_mb = _folder_mb(Path(__file__).parents[1]) if name == "moodreel" else 0.0
        sizes[name] = max(_size_mb(distribution), own_mb)  # an editable install lists no files of its own
        required = {_normalise(entry) for entry in distribution.requires or () if "extra ==" not in entry}
        waiting.extend(required - sizes.keys() - set(waiting))
    return sizes


def format_examination(examination: Examination) -> str:
    """Write the examination as text for a terminal."""
    missing = [name for name, there in examination.decoders if not there]
    versions = [f"  {name:<12} {version or '- (not installed)'}" for name, version in examination.versions]
    sizes = ", ".join(f"{name} {size_mb:.0f}" for name, size_mb in examination.largest_mb)
    lines = [
        f"moodreel {__version__}, Python {platform.python_version()}, {platform.platform()}",
        *versions,
        f"decoders     {', '.join(name for name, there in examination.decoders if there)}",
        *([f"  missing    {', '.join(missing)}"] if missing else []),
        *(_format_bundle(bundle) for bundle in examination.bundles),
        *([] if examination.bundles else ["bundle       none found: reinstall moodreel, or name a bundle's folder"]),
        f"base install {examination.installed_mb:.0f} MB (largest, MB: {sizes})",
    ]
    return "\n".join(lines)


def _format_bundle(bundle: BundleState) -> str:
    if bundle.problem is not None:
        return f"bundle       {bundle.title}: {bundle.problem}"
    return (
        f"bundle       {bundle.title}, {bundle.size_mb:.1f} MB (networks {bundle.networks_mb:.1f}), "
        f"runs on {', '.join(bundle.providers)}, {bundle.licence}"
    )


def _examine_bundle(name: str) -> BundleState:
    try:
        bundle = load_bundle(name)
        providers = {provider for network in bundle.networks for provider in _providers(bundle, network)}
    except BundleError as error:
        return BundleState(name, "", 0.0, 0.0, (), str(error))
    files = (bundle.path / str(entry["file"]) for entry in bundle.networks.values())
    networks_mb = sum(file.stat().st_size for file in files) / 1e6
    size_mb = _folder_mb(bundle.path)
    return BundleState(bundle.title, bundle.licence, size_mb, networks_mb, tuple(sorted(providers)), None)


def _providers(bundle: Bundle, network: str) -> list[str]:
    providers: list[str] = bundle.session(network, threads=1).get_providers()
    return providers


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _normalise(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", name.group().lower()) if name else requirement


def _size_mb(distribution: metadata.Distribution) -> float:
    places = (Path(str(distribution.locate_file(file))) for file in distribution.files or ())
    return sum(place.stat().st_size for place in places if place.is_file()) / 1e6


def _folder_mb(folder: Path) -> float:
    return sum(place.stat().st_size for place in folder.rglob("*") if place.is_file()) / 1e6
