"""A bundle: the folder that training writes and predicting reads, `bundle.json` and one or more `.onnx` files.

Nothing in a bundle can run code: numbers stand in JSON, networks are ONNX graphs, each checked by its sha256.
A bundle may come from a stranger, so sizes are bounded and file names may not leave the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moodreel.errors import BundleError
from moodreel.inference import open_session
from moodreel.labels import EMOTIONS
from moodreel.text import first_line

if TYPE_CHECKING:
    import onnxruntime

BUNDLE_SCHEMA_VERSION = 1
MAX_JSON_BYTES = 4 * 2**20
MAX_NETWORK_BYTES = 512 * 2**20
KINDS = ("late", "joint")


@dataclass(frozen=True)
class Bundle:
    """An opened bundle.

    Attributes:
        path: its folder.
        name: the name it gives itself.
        version: the version it gives itself.
        kind: `late` (a network for the face, one for the voice, fused) or `joint` (one network for both).
        licence: licence of the weights.
        networks: for each network its entry of `bundle.json`: `file`, `sha256` and parameters.
        manifest: the whole of `bundle.json`.
    """

    path: Path
    name: str
    version: str
    kind: str
    licence: str
    networks: Mapping[str, Mapping[str, Any]]
    manifest: Mapping[str, Any]

    @property
    def title(self) -> str:
        """Name and version, as predictions state them."""
        return f"{self.name} {self.version}"

    def section(self, name: str) -> Mapping[str, Any]:
        """Return one object of `bundle.json`.

        Raises:
            BundleError: the section is missing or not an object.
        """
        section: Mapping[str, Any] = _expect(self.manifest, name, Mapping, self.path)
        return section

    def number(self, network: str, key: str, default: float, least: float, most: float) -> float:
        """Return a parameter of one network.

        Args:
            network: its name in `bundle.json`.
            key: the parameter's name.
            default: its value where the bundle states none.
            least: least value that makes sense.
            most: greatest value that makes sense.

        Raises:
            BundleError: the parameter is no number or out of range.
        """
        value = self.networks.get(network, {}).get(key, default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not least <= value <= most:
            raise BundleError(
                f"{self.path}: bundle.json: {network}: {key!r} must be a number from {least:g} to {most:g}"
            )
        return float(value)

    def session(self, network: str, threads: int) -> onnxruntime.InferenceSession:
        """Open one network for computing on the CPU.

        Args:
            network: its name in `bundle.json`.
            threads: threads that one run may use.

        Raises:
            BundleError: the bundle has no such network, its file is missing, altered, or no ONNX graph.
        """
        if network not in self.networks:
            raise BundleError(f"bundle {self.path} has no network {network!r}: it holds {', '.join(self.networks)}")
        entry = self.networks[network]
        return open_session(read_network(self.path, entry), str(self.path / str(entry["file"])), threads)


def bundles_folder() -> Path:
    """Return the folder of the bundles that ship with the package."""
    return Path(str(resources.files("moodreel"))) / "weights"


def find_bundles() -> tuple[str, ...]:
    """Return the names of the bundles that ship with the package, sorted."""
    return tuple(sorted(path.parent.name for path in bundles_folder().glob("*/bundle.json")))


def load_bundle(name_or_path: str | os.PathLike[str]) -> Bundle:
    """Open a bundle by name (shipped with the package) or by its folder.

    Args:
        name_or_path: for example `default`, or `RUN/bundle`.

    Raises:
        BundleError: there is no such bundle, or it is damaged, foreign or of another schema version.
    """
    path = _locate(name_or_path)
    manifest = _read_manifest(path)
    networks = _expect(manifest, "networks", Mapping, path)
    for network in networks:
        _check_network(_expect(networks, network, Mapping, path), path)
    return Bundle(
        path=path,
        name=_expect(manifest, "name", str, path),
        version=_expect(manifest, "version", str, path),
        kind=_expect(manifest, "kind", str, path),
        licence=_expect(manifest, "licence", str, path),
        networks=networks,
        manifest=manifest,
    )


def read_network(folder: Path, entry: Mapping[str, Any]) -> bytes:
    """Read a network's file and check it against its sha256.

    Raises:
        BundleError: the file is missing, too large or altered.
    """
    path = folder / str(entry["file"])
    try:
        if path.exists() and not path.is_file():
            raise BundleError(f"{path}: is no regular file; install or export the bundle anew")
        if path.stat().st_size > MAX_NETWORK_BYTES:
            raise BundleError(f"{path}: larger than {MAX_NETWORK_BYTES} bytes, which no moodreel network is")
        graph = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); install or export the bundle anew") from None
    if hashlib.sha256(graph).hexdigest() != entry["sha256"]:
        raise BundleError(f"{path}: damaged or altered (sha256 differs from bundle.json); export the bundle anew")
    return graph


def _locate(name_or_path: str | os.PathLike[str]) -> Path:
    path, shipped = Path(name_or_path), find_bundles()
    if str(name_or_path) in shipped:
        return bundles_folder() / str(name_or_path)
    with suppress(OSError, ValueError):  # a name that no file can have
        if (path / "bundle.json").is_file():
            return path
    problem = "no such bundle"
    if os.path.lexists(path):
        problem = "the folder holds no bundle.json" if path.is_dir() else "is a file"
    names = ", ".join(shipped) or "none is installed"
    raise BundleError(f"{str(name_or_path)!r}: {problem}; expected a bundle's folder or one of: {names}")


def _read_manifest(path: Path) -> Mapping[str, Any]:
    file = path / "bundle.json"
    try:
        if file.stat().st_size > MAX_JSON_BYTES:
            raise BundleError(f"{file}: larger than {MAX_JSON_BYTES} bytes, which no bundle.json is")
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{file}: cannot be read as JSON ({first_line(error)}); export the bundle anew") from None
    if not isinstance(manifest, dict):
        raise BundleError(f"{file}: expected a JSON object; this is not a moodreel bundle")
    _check_schema(manifest, path)
    return manifest


def _check_schema(manifest: Mapping[str, Any], path: Path) -> None:
    version = manifest.get("schema_version")
    if version != BUNDLE_SCHEMA_VERSION:
        raise BundleError(
            f"{path}: bundle schema version {version!r}, expected {BUNDLE_SCHEMA_VERSION}; export it anew"
        )
    if manifest.get("labels") != list(EMOTIONS):
        raise BundleError(f"{path}: label order differs; expected {' '.join(EMOTIONS)}")
    if manifest.get("kind") not in KINDS:
        raise BundleError(f"{path}: bundle kind {manifest.get('kind')!r}, expected one of {', '.join(KINDS)}")


def _check_network(entry: Mapping[str, Any], path: Path) -> None:
    file = _expect(entry, "file", str, path)
    _expect(entry, "sha256", str, path)
    if Path(file).name != file or not file.endswith(".onnx") or not file.isprintable():
        raise BundleError(f"{path}: network file {file!r} must be a plain name ending in .onnx")


def _expect(entry: Mapping[str, Any], key: str, kind: type[Any], path: Path) -> Any:
    value = entry.get(key)
    if not isinstance(value, kind):
        found = "nothing" if value is None else type(value).__name__
        raise BundleError(f"{path}: bundle.json: {key!r} must be {kind.__name__}, found {found}")
    return value
