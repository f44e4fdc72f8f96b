"""CIFAR-10 (Krizhevsky 2009) and the training of ResNet-20 on it: `moodreel pretrain cifar10`."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from moodreel.errors import CorpusError
from moodreel.training.backbones.resnet import IMAGE_MEAN, ResNet20, normalise_images, save_onnx_weights
from moodreel.training.fitting import CHECKPOINT, Course, Epochs, FitModule, fit_module, schedule_one_cycle
from moodreel.training.machine import choose_precision, compile_network
from moodreel.training.run_folder import begin_or_resume

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE_PX = 32
PAD_PX = 4
PYTHON_FILES = {"train": tuple(f"data_batch_{n}" for n in range(1, 6)), "test": ("test_batch",)}


@dataclass(frozen=True)
class CifarPictures:
    """Labelled pictures.

    Attributes:
        images: RGB uint8, shape (n, 3, 32, 32), values 0-255.
        labels: int64, shape (n,), index into `CLASSES`.
    """

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class CifarSettings:
    """How ResNet-20 is trained; the defaults gave the shipped weights.

    Attributes:
        epochs: passes over the training pictures.
        batch_size: pictures per step.
        learning_rate: peak of the one-cycle schedule of SGD with Nesterov momentum.
        momentum: of SGD.
        weight_decay: of SGD.
        label_smoothing: share of the target spread over all classes, 0-1.
        hole_px: side of the square that is covered in each picture.
        average_decay: decay per step of the weight averaging; the average is kept in the end.
        seed: of weights, order and augmentation.
        fused: whether the network is compiled first where a C++ compiler is there: half a minute that a long run is
            worth.
    """

    epochs: int = 160
    batch_size: int = 128
    learning_rate: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.05
    hole_px: int = 10
    average_decay: float = 0.995
    seed: int = 0
    fused: bool = True


def read_cifar10(source: Path, split: str) -> CifarPictures:
    """Read one split of CIFAR-10 in any of the forms it is passed around in.

    Args:
        source: a folder or `.zip` of class folders (`train/<class>/*.jpg|png`), or the python-version archive
            (`cifar-10-python.tar.gz`, or the folder `cifar-10-batches-py` out of it).
        split: `train` or `test`.

    Raises:
        CorpusError: nothing of these is found, a picture is not 32x32, or the archive holds more than arrays.
    """
    if source.is_file() and zipfile.is_zipfile(source):
        return _read_zip(source, split)
    if source.is_file() and tarfile.is_tarfile(source):
        return _read_python_tar(source, split)
    for folder in (source, source / "cifar-10-batches-py"):
        if (folder / PYTHON_FILES[split][0]).is_file():
            return _join([_read_batch(io.BytesIO((folder / name).read_bytes())) for name in PYTHON_FILES[split]])
    if (source / split).is_dir():
        return _read_folders(source / split)
    raise CorpusError(
        f"{source}: no CIFAR-10 here: expected {split}/<class>/*.jpg (a folder or .zip) or the python-version archive"
    )


def _read_zip(source: Path, split: str) -> CifarPictures:
    with zipfile.ZipFile(source) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith(f"{split}/") and not name.endswith("/"))
        pairs = [(_read_picture(io.BytesIO(archive.read(name)), name), Path(name).parent.name) for name in names]
    return _label(pairs, f"{source}:{split}")


def _read_folders(folder: Path) -> CifarPictures:
    paths = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    return _label([(_read_picture(path, str(path)), path.parent.name) for path in paths], str(folder))


def _read_picture(file: IO[bytes] | Path, name: str) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as picture:
            pixels = np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise CorpusError(f"{name}: not a readable picture ({error})") from error
    if pixels.shape != (SIDE_PX, SIDE_PX, 3):
        raise CorpusError(f"{name}: expected {SIDE_PX}x{SIDE_PX} pixels, found {pixels.shape[1]}x{pixels.shape[0]}")
    return pixels


def _label(pairs: list[tuple[NDArray[np.uint8], str]], source: str) -> CifarPictures:
    unknown = sorted({name for _, name in pairs} - set(CLASSES))
    if unknown or not pairs:
        found = f"unknown class {unknown[0]!r}" if unknown else "no pictures"
        raise CorpusError(f"{source}: {found}: expected folders named {', '.join(CLASSES)}")
    images = np.stack([pixels for pixels, _ in pairs]).transpose(0, 3, 1, 2)
    labels = torch.tensor([CLASSES.index(name) for _, name in pairs])
    return CifarPictures(torch.from_numpy(np.ascontiguousarray(images)), labels)


def _read_python_tar(source: Path, split: str) -> CifarPictures:
    parts = {}
    with tarfile.open(source) as archive:
        for member in archive:
            content = archive.extractfile(member) if Path(member.name).name in PYTHON_FILES[split] else None
            if content is not None:
                parts[Path(member.name).name] = _read_batch(content)
    missing = sorted(set(PYTHON_FILES[split]) - set(parts))
    if missing:
        raise CorpusError(f"{source}: {missing[0]} is missing from the archive")
    return _join([parts[name] for name in PYTHON_FILES[split]])


class _ArraysOnly(pickle.Unpickler):
    """Unpickles NumPy arrays and builtin containers; the archive is a pickle from the web and could name any code."""

    ALLOWED = frozenset(
        {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
        | {(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")}
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _read_batch(file: IO[bytes]) -> CifarPictures:
    try:
        batch = _ArraysOnly(file, encoding="bytes").load()
        images = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, SIDE_PX, SIDE_PX)
        labels = torch.tensor([int(label) for label in batch[b"labels"]])
    except Exception as error:  # a hostile or cut pickle raises whatever it likes
        raise CorpusError(f"not a batch of CIFAR-10's python version: {error}") from error
    return CifarPictures(torch.from_numpy(images.copy()), labels)


def _describe(pictures: CifarPictures) -> dict[str, Any]:
    """Say which pictures these are, as JSON types."""
    content = hashlib.sha256(pictures.images.numpy().tobytes() + pictures.labels.numpy().tobytes())
    return {"n_pictures": len(pictures.labels), "sha256": content.hexdigest()}


def _join(parts: list[CifarPictures]) -> CifarPictures:
    return CifarPictures(torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts]))


def augment_pictures(images: Tensor, generator: torch.Generator, hole_px: int = 0) -> Tensor:
    """Shift each picture by up to 4 pixels (black comes in), mirror every second one, and cover a square of it.

    Args:
        images: uint8, shape (n, 3, 32, 32).
        generator: where chance comes from.
        hole_px: side of the square, which may hang over the edge (cutout, DeVries & Taylor 2017, section 3.2).

    Returns:
        uint8 of the same shape.
    """
    n = len(images)
    padded = functional.pad(images, (PAD_PX,) * 4)
    top, left = torch.randint(0, 2 * PAD_PX + 1, (2, n, 1), generator=generator)
    columns = torch.arange(SIDE_PX).expand(n, -1)
    mirrored = torch.rand(n, 1, generator=generator) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns) + left
    rows = torch.arange(SIDE_PX) + top
    moved = padded[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return _cut_out(moved, hole_px, generator)


def _cut_out(images: Tensor, hole_px: int, generator: torch.Generator) -> Tensor:
    """Fill a square around a random centre with ImageNet's mean grey, which the normalisation turns into nearly 0."""
    centres = torch.randint(0, SIDE_PX, (2, len(images), 1), generator=generator)
    rows, columns = torch.arange(SIDE_PX) - centres + hole_px // 2
    inside = ((rows >= 0) & (rows < hole_px))[:, :, None] & ((columns >= 0) & (columns < hole_px))[:, None, :]
    return torch.where(inside[:, None], round(255 * sum(IMAGE_MEAN) / 3), images)


def draw_epoch(pictures: CifarPictures, settings: CifarSettings, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Draw shuffled, augmented batches, the same for the same seed and epoch whatever ran before."""
    generator = torch.Generator().manual_seed(settings.seed * 1000 + epoch)
    order = torch.randperm(len(pictures.labels), generator=generator)
    for chosen in torch.split(order, settings.batch_size)[: _count_steps(pictures, settings)]:
        yield augment_pictures(pictures.images[chosen], generator, settings.hole_px), pictures.labels[chosen]


def _count_steps(pictures: CifarPictures, settings: CifarSettings) -> int:
    return max(1, len(pictures.labels) // settings.batch_size)


class CifarModule(FitModule):
    """SGD with one cycle of the learning rate over ResNet-20."""

    network: ResNet20

    def __init__(self, settings: CifarSettings) -> None:
        """Draw the network's weights."""
        network = ResNet20().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(network, "ResNet-20")
        self.settings = settings
        if settings.fused:
            compile_network(self.network)

    def measure_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the smoothed cross-entropy of one batch."""
        images, labels = batch
        pixels = normalise_images(images).to(memory_format=torch.channels_last)
        return functional.cross_entropy(self.network(pixels), labels, label_smoothing=self.settings.label_smoothing)

    def configure_optimizers(self) -> Any:
        """Return Nesterov SGD and its one-cycle schedule."""
        settings = self.settings
        optimizer = torch.optim.SGD(
            self.network.parameters(),
            settings.learning_rate,
            settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=True,
        )
        n_steps = int(self.trainer.estimated_stepping_batches)
        return schedule_one_cycle(optimizer, settings.learning_rate, n_steps, rising=0.2)


def measure_accuracy(network: ResNet20, pictures: CifarPictures) -> float:
    """Return the share of pictures classified rightly, 0-1."""
    network.eval()
    with torch.inference_mode():
        answers = [network(normalise_images(images)).argmax(1) for images in torch.split(pictures.images, 500)]
    return float((torch.cat(answers) == pictures.labels).float().mean())


def pretrain_cifar10(source: Path, out: Path, settings: CifarSettings) -> Mapping[str, object]:
    """Train ResNet-20 on CIFAR-10 and write it to `out`.

    The last epoch's averaged weights are kept; the test pictures are looked at once, afterwards.

    Args:
        source: see `read_cifar10`.
        out: folder for `resnet20.onnx`, `resnet20.json` and the checkpoint `last.ckpt`; a run found there goes on.
        settings: how to train.

    Returns:
        What `resnet20.json` holds: test accuracy, counts, settings.

    Raises:
        CorpusError: see `read_cifar10`.
        MoodreelError: training diverged.
        OutputError: the folder cannot be written, or holds another or an unknown run.
        RecipeError: it holds a run of other settings.
    """
    train = read_cifar10(source, "train")
    begin_or_resume(out, settings, {"train": _describe(train)}, ("resnet20.onnx", "resnet20.json", CHECKPOINT))
    lightning.seed_everything(settings.seed, verbose=False)
    module = CifarModule(settings)
    epochs = Epochs(_count_steps(train, settings), partial(draw_epoch, train, settings))
    fit_module(module, epochs, Course(settings.epochs, None, settings.average_decay, precision=choose_precision()), out)
    test = read_cifar10(source, "test")
    facts = {
        "network": "ResNet-20, option-A shortcuts, 32x32 RGB",
        "n_train": len(train.labels),
        "n_test": len(test.labels),
        "test_accuracy": round(measure_accuracy(module.network, test), 4),
        "settings": asdict(settings),
        "training_data": "CIFAR-10 (Krizhevsky 2009)",
        "command": "moodreel pretrain cifar10 DATA --out DIR",
    }
    save_onnx_weights(module.network, out, facts)
    return facts
