"""The command line: one short function a command. Heavy modules are imported where used, so that `--help` is fast."""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moodreel import cli_evaluation, cli_serving
from moodreel.cli_options import (
    AllowOutsideOption,
    AllowSharedOption,
    AllowUnreadableOption,
    CacheOption,
    CorpusArgument,
    LayoutOption,
    SpeakersCsvOption,
    SpeakersOption,
    ThreadsOption,
    WorkersOption,
)
from moodreel.errors import MoodreelError

if TYPE_CHECKING:
    from moodreel.output import Report

TRAIN_MODULES = (
    "torch",
    "lightning",
    "onnx",
    "onnxscript",
    "sklearn",
    "scipy",
    "yaml",
    "tensorboard",
    "matplotlib",
    "optuna",
    "sqlalchemy",
)
SERVE_MODULES = ("fastapi", "starlette", "uvicorn", "python_multipart", "prometheus_client")

app = typer.Typer(
    name="moodreel",
    help="Audio-visual emotion recognition: what the people in a clip feel, from face and voice, over time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Format(StrEnum):
    """How predictions are written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    VTT = "vtt"


ModelOption = Annotated[str, typer.Option("--model", "-m", help="A bundle's name, or its folder (RUN/bundle).")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on stderr but errors.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Say what is being done, on stderr.")]


@app.command()
def predict(
    clips: Annotated[
        list[str], typer.Argument(help="Clips, sound files, pictures or folders of them.", show_default=False)
    ],
    format: Annotated[Format, typer.Option("--format", "-f", help="How to write the answers.")] = Format.TABLE,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write there instead of stdout.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the timeline as PNG; a folder with several clips.")] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Draw faces and emotions into the clip, as MP4; a folder with several clips.")
    ] = None,
    model: ModelOption = "default",
    threads: ThreadsOption = 2,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Tell the emotion of each clip, from face and voice, over time."""
    from moodreel.output import Report

    report = Report(format.value, output, plot, overlay, quiet=quiet, verbose=verbose)
    raise typer.Exit(_predict_clips(report, clips, model, threads))


def _predict_clips(report: Report, clips: list[str], model: str, threads: int) -> int:
    from moodreel.media_paths import find_media, is_folder
    from moodreel.recognizer import Recognizer

    recognizer = Recognizer.load(model, threads=threads)
    is_list = len(clips) > 1 or is_folder(Path(clips[0]))
    found: dict[Path, None] = {}  # a set that keeps its order
    for clip in clips:
        with report.guard():
            found.update(dict.fromkeys(find_media([clip])))
    with suppress(BrokenPipeError), report.open(list(found), is_list=is_list):
        for path in found:
            with report.guard():
                report.add(path, recognizer.predict(path, progress=report.progress(path)))
    return report.exit_status


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the clip and its pictures.")] = Path(
        "moodreel-demo"
    ),
    model: ModelOption = "default",
    quiet: QuietOption = False,
) -> None:
    """Make a short clip, predict on it, and draw its timeline."""
    from moodreel.demo import write_demo_clip
    from moodreel.output import Report

    clip = write_demo_clip(output / "demo.mp4")
    report = Report("table", None, output / "demo.png", output / "demo-overlay.mp4", quiet=quiet, verbose=False)
    status = _predict_clips(report, [str(clip)], model, threads=2)
    if not status and not quiet:
        typer.echo(f"moodreel: see {output / 'demo.png'} and {output / 'demo-overlay.mp4'}", err=True)
    raise typer.Exit(status)


@app.command()
def doctor() -> None:
    """Show versions, codecs, the execution provider really in use, the bundles found and the installed size."""
    from moodreel.doctor import examine, format_examination

    typer.echo(format_examination(examine()))


pretrain = typer.Typer(help="Train the networks that the bundles are built of.", no_args_is_help=True)
app.add_typer(pretrain, name="pretrain")

OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; a stopped run goes on from it.")]
FerplusOption = Annotated[Path, typer.Option(help="Folder with FER2013 + FER+ as train.npz and valid.npz.")]
RavdessOption = Annotated[Path, typer.Option(help="Folder with RAVDESS's speech.")]
NemoOption = Annotated[Path, typer.Option(help="Folder with nEMO: data.tsv and audio/.")]
OriginOption = Annotated[Path | None, typer.Option(help="Folder with the origin's weights; fetched when not given.")]


@app.command()
def train(
    corpus: CorpusArgument,
    out: OutOption,
    recipe: Annotated[str, typer.Option(help="A shipped recipe's name or a YAML file.")] = "repaired",
    max_epochs: Annotated[int | None, typer.Option(min=1, help="Overrides the recipe's epochs.")] = None,
    fold: Annotated[int | None, typer.Option(help="Leave this fold of speakers out (from 1) and score it.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in OUT.")] = False,
    change: Annotated[list[str] | None, typer.Option("--set", help="Change the recipe: key=value.")] = None,
    layout: LayoutOption = None,
    speakers: SpeakersOption = None,
    speakers_csv: SpeakersCsvOption = None,
    allow_outside: AllowOutsideOption = False,
    allow_shared_speakers: AllowSharedOption = False,
    allow_unreadable: AllowUnreadableOption = False,
    cache: CacheOption = None,
    devices: Annotated[int, typer.Option(min=1, help="Processes that share each batch.")] = 1,
    workers: WorkersOption = 2,
    only: Annotated[str | None, typer.Option(help="Of emonets or yao2015: train this part alone.")] = None,
    faces: Annotated[Path | None, typer.Option(help="Of emonets or yao2015: FER2013 + FER+, as .npz files.")] = None,
    threads: ThreadsOption = 2,
) -> None:
    """Train a recipe on a corpus; the bundle is OUT/bundle."""
    from moodreel.predecessors.commands import train_predecessor
    from moodreel.training import machine
    from moodreel.training.commands import TrainOptions, format_scores
    from moodreel.training.commands import train as run
    from moodreel.training.recipe import is_predecessor

    machine.start(threads)
    options = TrainOptions(
        max_epochs=max_epochs,
        fold=fold,
        resume=resume,
        devices=devices,
        workers=workers,
        changes=tuple(change or ()),
        layout=layout,
        speaker_regex=speakers,
        speakers_csv=speakers_csv,
        allow_outside=allow_outside,
        allow_shared_speakers=allow_shared_speakers,
        allow_unreadable=allow_unreadable,
        cache=cache,
    )
    if is_predecessor(recipe):
        scores = train_predecessor(corpus, recipe, out, options, only=only, faces=faces)
    elif only or faces:
        raise MoodreelError(f"{recipe}: has no parts, so --only and --faces mean nothing; use emonets or yao2015")
    else:
        scores = run(corpus, recipe, out, options)
    typer.echo(format_scores(scores, out))


@app.command()
def parts(
    runs: Annotated[list[Path], typer.Argument(help="Folders of `train --recipe emonets|yao2015`, a fold each.")],
) -> None:
    """Show what each part and each fusion of a predecessor is worth, over all folds: a Markdown table."""
    from moodreel.predecessors.table import format_parts

    typer.echo(format_parts(runs))


@app.command()
def postmortem(
    corpus: CorpusArgument,
    out: OutOption,
    fold: Annotated[int, typer.Option(min=1, help="The fold of speakers that is scored.")] = 1,
    change: Annotated[list[str] | None, typer.Option("--set", help="Change every recipe: key=value.")] = None,
    layout: LayoutOption = None,
    speakers: SpeakersOption = None,
    speakers_csv: SpeakersCsvOption = None,
    allow_outside: AllowOutsideOption = False,
    allow_shared_speakers: AllowSharedOption = False,
    allow_unreadable: AllowUnreadableOption = False,
    cache: CacheOption = None,
    workers: WorkersOption = 2,
    threads: ThreadsOption = 2,
) -> None:
    """Measure why the paper's network does not converge, one cause a row."""
    from moodreel.training import machine
    from moodreel.training import postmortem as study
    from moodreel.training.commands import TrainOptions

    machine.start(threads)
    options = TrainOptions(
        fold=fold,
        changes=tuple(change or ()),
        layout=layout,
        speaker_regex=speakers,
        speakers_csv=speakers_csv,
        allow_outside=allow_outside,
        allow_shared_speakers=allow_shared_speakers,
        allow_unreadable=allow_unreadable,
        cache=cache,
        workers=workers,
    )
    typer.echo(study.format_postmortem(*study.postmortem(corpus, out, options)))


@pretrain.command("cifar10")
def pretrain_cifar10(
    data: Annotated[Path, typer.Argument(help="CIFAR-10: class folders, a .zip of them, or the python archive.")],
    out: OutOption,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the pictures.")] = 160,
    threads: ThreadsOption = 2,
) -> None:
    """Train ResNet-20 on CIFAR-10."""
    from moodreel.training import cifar10, machine

    machine.start(threads)
    facts = cifar10.pretrain(data, out, cifar10.CifarSettings(epochs=epochs), resume=True)
    typer.echo(f"{facts['test_accuracy']:.4f} of {facts['n_test']} test pictures right: {out / 'resnet20.onnx'}")


@pretrain.command("faces")
def pretrain_faces(
    data: FerplusOption, out: OutOption, origin: OriginOption = None, threads: ThreadsOption = 2
) -> None:
    """Fine-tune the face network on FER2013 and FER+."""
    from moodreel.training import face, machine

    machine.start(threads)
    typer.echo(face.pretrain_faces(data, out, origin=origin))


@pretrain.command("voice")
def pretrain_voice(ravdess: RavdessOption, nemo: NemoOption, out: OutOption, threads: ThreadsOption = 2) -> None:
    """Fine-tune the voice network on RAVDESS and nEMO."""
    from moodreel.training import machine, voice

    machine.start(threads)
    voice.pretrain_voice(ravdess, nemo, out, threads=threads)
    typer.echo(out / "voice.onnx")


@pretrain.command("default")
def pretrain_default(
    ferplus: FerplusOption, ravdess: RavdessOption, nemo: NemoOption, out: OutOption, threads: ThreadsOption = 2
) -> None:
    """Rebuild the default bundle: both networks, their calibration and fusion, in OUT/default."""
    from moodreel.training import default, machine

    machine.start(threads)
    typer.echo(default.pretrain_default(ferplus, ravdess, nemo, out, threads))


@app.command()
def corpus(
    folder: Annotated[Path, typer.Argument(help="A corpus folder, or a manifest (.csv, .tsv, .parquet).")],
    layout: LayoutOption = None,
    speakers: SpeakersOption = None,
    speakers_csv: SpeakersCsvOption = None,
    allow_outside: AllowOutsideOption = False,
    check_media: Annotated[
        bool, typer.Option("--check-media", help="Open every file, to find unreadable ones.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Look for speakers and recordings on both sides.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON instead of tables.")] = False,
) -> None:
    """Show what a corpus holds: clips, classes, speakers, unreadable files, imbalance, leaks."""
    import json

    from rich.console import Console

    from moodreel.corpora import describe_corpus, read_corpus, render_description
    from moodreel.evaluation import to_plain
    from moodreel.evaluation.commands import check_corpus
    from moodreel.evaluation.leaks import format_leaks

    read = read_corpus(folder, layout, speakers, speakers_csv, allow_outside=allow_outside)
    description = describe_corpus(read, check_media)
    leaks = check_corpus(read) if check else None
    if as_json:
        found = {} if leaks is None else {"leaks": to_plain(leaks)}
        typer.echo(json.dumps({**description.to_json(), **found}, indent=2, ensure_ascii=False))
    else:
        Console().print(render_description(description))
        typer.echo(format_leaks(leaks) if leaks is not None else "", nl=leaks is not None)
    raise typer.Exit(1 if leaks is not None and leaks.leaked else 0)


app.add_typer(cli_evaluation.app)
app.add_typer(cli_serving.app)


def _show_version(value: bool) -> None:
    if value:
        from moodreel import __version__

        typer.echo(f"moodreel {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Read options that stand before a command."""


def main() -> None:
    """Run the command line; a user's mistake ends in one line on stderr and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may hold bytes that are no text
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except MoodreelError as error:
        from moodreel.container import printable  # names in messages may come from hostile files

        typer.echo(f"moodreel: error: {printable(str(error))}", err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if error.name not in TRAIN_MODULES + SERVE_MODULES:
            raise
        extra = "serve" if error.name in SERVE_MODULES else "train"
        typer.echo(f"moodreel: error: this command needs {error.name}: pip install 'moodreel[{extra}]'", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("moodreel: interrupted", err=True)
        sys.exit(130)
