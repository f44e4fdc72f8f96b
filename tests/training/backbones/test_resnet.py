"""ResNet-20 and its training on CIFAR-10: public checkpoints, own weights, every form of the data, hostile archives."""

import io
import pickle
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from moodreel.errors import CorpusError, MoodreelError, OutputError, RecipeError
from moodreel.training import machine
from moodreel.training.backbones import cifar10
from moodreel.training.backbones.resnet import (
    ResNet20,
    load_checkpoint,
    load_onnx_weights,
    normalise_images,
    save_onnx_weights,
)
from moodreel.training.joint.networks import ResNetEncoder


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return ResNet20().eval()


def pictures(n=20):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8), [index % 10 for index in range(n)]


def write_folders(folder, n=20):
    images, labels = pictures(n)
    for split in ("train", "test"):
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = folder / split / cifar10.CLASSES[label] / f"{index:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(path)
    return folder


def test_the_network_has_20_layers_and_270_thousand_parameters(network):
    assert sum(isinstance(m, torch.nn.Conv2d | torch.nn.Linear) for m in network.modules()) == 20
    assert sum(parameter.numel() for parameter in network.parameters()) == 269_722
    assert network.maps(torch.zeros(1, 3, 256, 256)).shape == (1, 64, 64, 64)


@pytest.mark.parametrize("n_stages", [1, 2, 3])
def test_the_encoder_stops_behind_the_stage_asked_for(n_stages):
    frames = torch.randint(0, 256, (2, 20, 20, 3), dtype=torch.uint8)
    encoder = ResNetEncoder(ResNet20(), 0, stages=n_stages)
    assert encoder(frames).shape == (2, encoder.width(20))
    trained = {name.split(".")[1] for name, value in encoder.named_parameters() if value.requires_grad}
    assert trained == {"conv1", "bn1", "layer1", "layer2", "layer3"} - {f"layer{n}" for n in range(n_stages + 1, 4)}
    pooled = ResNetEncoder(ResNet20(), 2, stages=n_stages)
    assert pooled(frames).shape == (2, pooled.width(20)) == (2, 4 * (16, 32, 64)[n_stages - 1])


def test_checkpoints_of_the_public_naming_load(network, tmp_path):
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, "best_prec1": 91.0}, tmp_path / "public.th")
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(load_checkpoint(tmp_path / "public.th")(images), network(images))


def test_what_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "text.th").write_text("no")
    torch.save({"state_dict": {"module.conv1.weight": torch.zeros(1)}}, tmp_path / "other.th")
    (tmp_path / "code.th").write_bytes(pickle.dumps(print))
    for name, message in {"text": "plain tensors", "other": "not a ResNet-20", "code": "plain tensors"}.items():
        with pytest.raises(MoodreelError, match=message):
            load_checkpoint(tmp_path / f"{name}.th")


def test_weights_survive_the_way_through_onnx(network, tmp_path):
    import onnxruntime

    save_onnx_weights(network, tmp_path, {"test_accuracy": 0.5})
    images = torch.from_numpy(pictures(3)[0]).float()
    expected = network(normalise_images(images)).detach()
    torch.testing.assert_close(load_onnx_weights(tmp_path / "resnet20.onnx")(normalise_images(images)), expected)
    session = onnxruntime.InferenceSession(str(tmp_path / "resnet20.onnx"))
    (found,) = session.run(None, {"images": images.numpy()})
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)
    assert (tmp_path / "resnet20.onnx").stat().st_size < 1_200_000


def test_damaged_onnx_is_refused(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"not onnx at all")
    with pytest.raises(MoodreelError):
        load_onnx_weights(tmp_path / "x.onnx")


def test_every_form_of_cifar10_is_read_alike(tmp_path):
    import shutil

    folder = write_folders(tmp_path / "folders")
    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", folder)
    write_python_version(tmp_path / "python.tar.gz")
    expected = sorted(map(tuple, pictures()[0].reshape(20, -1).tolist()))
    for source in (folder, tmp_path / "zipped.zip", tmp_path / "python.tar.gz"):
        read = cifar10.read_cifar10(source, "test")
        assert sorted(map(tuple, read.images.reshape(20, -1).tolist())) == expected
        assert sorted(read.labels.tolist()) == sorted(pictures()[1])
    assert archive.endswith("zipped.zip")


def write_python_version(path, content=None):
    images, labels = pictures()
    content = content or pickle.dumps({b"data": images.reshape(20, -1), b"labels": labels}, protocol=2)
    with tarfile.open(path, "w:gz") as archive:
        for name in ("test_batch", *(f"data_batch_{n}" for n in range(1, 6))):
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


class Hostile:
    def __reduce__(self):
        return (print, ("code of the archive ran",))


def test_an_archive_that_names_code_is_refused_and_does_not_run(tmp_path, capsys):
    write_python_version(tmp_path / "hostile.tar.gz", pickle.dumps({b"data": Hostile(), b"labels": []}, protocol=2))
    with pytest.raises(CorpusError, match=r"names (builtins|__builtin__)\.print"):
        cifar10.read_cifar10(tmp_path / "hostile.tar.gz", "test")
    assert "ran" not in capsys.readouterr().out


def test_folders_that_are_not_cifar10_are_refused(tmp_path):
    with pytest.raises(CorpusError, match="no CIFAR-10 here"):
        cifar10.read_cifar10(tmp_path, "train")
    write_folders(tmp_path / "a")
    (tmp_path / "a" / "train" / "cat").rename(tmp_path / "a" / "train" / "kitten")
    with pytest.raises(CorpusError, match="unknown class 'kitten'"):
        cifar10.read_cifar10(tmp_path / "a", "train")
    Image.new("RGB", (8, 8)).save(tmp_path / "a" / "test" / "cat" / "small.png")
    with pytest.raises(CorpusError, match="expected 32x32 pixels, found 8x8"):
        cifar10.read_cifar10(tmp_path / "a", "test")


def test_augmenting_shifts_and_mirrors_whole_pictures():
    images = torch.from_numpy(pictures(64)[0])
    moved = cifar10.augment_pictures(images, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape and moved.dtype == torch.uint8
    centre, candidates = moved[:, :, 8:24, 8:24], []
    for source in (images, images.flip(3)):
        for top in range(4, 13):
            candidates += [
                (source[:, :, top : top + 16, left : left + 16] == centre).all((1, 2, 3)) for left in range(4, 13)
            ]
    assert torch.stack(candidates).any(0).all()


def test_a_hole_covers_one_square_of_each_picture():
    white = torch.full((32, 3, 32, 32), 255, dtype=torch.uint8)
    alone = cifar10.augment_pictures(white, torch.Generator().manual_seed(0))
    holed = cifar10.augment_pictures(white, torch.Generator().manual_seed(0), hole_px=10)
    changed = (holed != alone).any(1)
    covered = changed.sum((1, 2))
    assert covered.max() <= 100 and covered.float().mean() > 40  # some hang over the edge, or cover black
    assert all(rows.sum() <= 10 for rows in changed.any(2)) and all(columns.sum() <= 10 for columns in changed.any(1))


def test_training_writes_weights_scores_and_goes_on(tmp_path):
    folder = write_folders(tmp_path / "data")
    settings = cifar10.CifarSettings(epochs=1, batch_size=10, fused=False)
    facts = cifar10.pretrain_cifar10(folder, tmp_path / "out", settings)
    assert facts["n_train"] == 20 and 0 <= facts["test_accuracy"] <= 1
    assert load_onnx_weights(tmp_path / "out" / "resnet20.onnx")
    checkpoint = torch.load(tmp_path / "out" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2
    cifar10.pretrain_cifar10(folder, tmp_path / "out", settings)
    with pytest.raises(RecipeError, match="another recipe"):
        cifar10.pretrain_cifar10(folder, tmp_path / "out", replace(settings, seed=1))
    next((folder / "train").rglob("*.png")).unlink()
    with pytest.raises(OutputError, match="other data"):
        cifar10.pretrain_cifar10(folder, tmp_path / "out", settings)


def test_weights_of_an_unknown_run_are_refused(tmp_path):
    """The run of other settings was gone on with, and its weights were shipped under these."""
    folder = write_folders(tmp_path / "data")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "last.ckpt").write_bytes(b"whatever")
    with pytest.raises(OutputError, match=r"last\.ckpt but no recipe\.yaml: an unknown run"):
        cifar10.pretrain_cifar10(folder, tmp_path / "out", cifar10.CifarSettings(epochs=1))


def test_fusing_keeps_names_and_needs_a_compiler(monkeypatch):
    network, names = ResNet20(), list(ResNet20().state_dict())
    monkeypatch.setattr(machine.shutil, "which", lambda _: None)
    machine.compile_network(network)
    assert network._compiled_call_impl is None
    monkeypatch.setattr(machine.shutil, "which", lambda _: "/usr/bin/g++")
    machine.compile_network(network)
    assert network._compiled_call_impl is not None
    assert list(network.state_dict()) == names
