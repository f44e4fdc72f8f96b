"""The command line: it puts the commands together and turns a user's mistake into one line.

Every command imports what is heavy inside its function, so that `--help` is fast.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer

from moodreel.cli import pretrain
from moodreel.cli.calibrate import calibrate
from moodreel.cli.compare import compare
from moodreel.cli.corpus import corpus
from moodreel.cli.demo import demo
from moodreel.cli.doctor import doctor
from moodreel.cli.evaluate import evaluate
from moodreel.cli.formats import formats
from moodreel.cli.index import index
from moodreel.cli.library import library
from moodreel.cli.parts import parts
from moodreel.cli.postmortem import postmortem
from moodreel.cli.predict import predict
from moodreel.cli.recipes import recipes
from moodreel.cli.search import search
from moodreel.cli.serve import serve
from moodreel.cli.train import train
from moodreel.cli.tune import tune
from moodreel.errors import MoodreelError, QueryError
from moodreel.extras import advise
from moodreel.plugins import find_entries, load_entry
from moodreel.text import printable, suggest

COMMANDS: tuple[Callable[..., Any], ...] = (
    predict,
    demo,
    index,
    search,
    library,
    serve,
    corpus,
    recipes,
    train,
    tune,
    evaluate,
    compare,
    calibrate,
    parts,
    postmortem,
    formats,
    doctor,
)
PLUGINS = "moodreel.commands"
"""Group of entry points whose functions become commands of their names."""

EXTRAS = {"serve": "serve", "evaluate": "evaluate", "index": "library", "search": "library", "library": "library"}
"""Which extra a command needs; `train` where it is not named."""

EXTRA_MODULES = frozenset(
    [
        "torch",
        "lightning",
        "onnx",
        "onnxscript",
        "sklearn",
        "scipy",
        "yaml",
        "optuna",
        "sqlalchemy",
        "tensorboard",
        "matplotlib",
        "fastapi",
        "starlette",
        "uvicorn",
        "websockets",
        "python_multipart",
        "prometheus_client",
    ]
)
"""Modules that only an extra installs."""

_INTERRUPTED_STATUS = 130
_USAGE_ERROR: Any = typer.BadParameter.__base__  # of a missing or wrong argument; typer gives it no public name

app = typer.Typer(
    name="moodreel",
    help="Audio-visual emotion recognition: what the people in a clip feel, from face and voice, over time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _command in COMMANDS:
    app.command()(_command)
app.add_typer(pretrain.app, name="pretrain")


def _add_plugins() -> None:
    """Add the commands of other packages; one that cannot be loaded costs a line and itself alone."""
    names = {command.__name__ for command in COMMANDS} | {"pretrain"}
    for name, entry in find_entries(PLUGINS).items():
        try:
            if name in names:
                raise MoodreelError(f"the plug-in {name!r} has the name of a command of moodreel's own")
            function = load_entry(entry)
            _check_command(function)
            app.command(name)(function)
        except MoodreelError as error:
            typer.echo(f"moodreel: warning: {printable(str(error))}", err=True)


def _check_command(function: Callable[..., Any]) -> None:
    """Refuse a function whose parameters typer cannot make options of, which would end every command."""
    alone = typer.Typer()
    alone.command()(function)
    try:
        typer.main.get_command(alone)
    except Exception as error:
        raise MoodreelError(f"the plug-in {function.__name__!r} is no command ({error})") from error


_add_plugins()


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


def main() -> NoReturn:
    """Run the command line; a user's mistake ends in one line on stderr and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may hold bytes that are no text
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(app(standalone_mode=False, prog_name="moodreel") or 0)
    except _USAGE_ERROR as error:
        _refuse_usage(error)
    except QueryError as error:
        _refuse(str(error), error.pointer)
    except MoodreelError as error:
        _refuse(str(error))
    except ModuleNotFoundError as error:
        module, command = (error.name or "").partition(".")[0], sys.argv[1]
        if module not in EXTRA_MODULES:
            raise
        _refuse(f"{command} needs {module}: {advise(EXTRAS.get(command, 'train'))}")
    except KeyboardInterrupt:
        typer.echo("moodreel: interrupted", err=True)
        sys.exit(_INTERRUPTED_STATUS)


def _refuse(problem: str, pointer: str = "") -> NoReturn:
    typer.echo(f"moodreel: error: {printable(problem)}", err=True)  # names in messages may come from hostile files
    for line in pointer.splitlines():
        typer.echo(f"  {line}", err=True)
    sys.exit(2)


def _refuse_usage(error: Any) -> NoReturn:
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(error.format_message(), err=True)
        sys.exit(2)
    command = error.ctx.command_path if error.ctx is not None else "moodreel"
    problem = _tell_usage(error)
    _refuse(f"{problem}{'' if problem.endswith('?') else '.'} See {command} --help")


def _tell_usage(error: Any) -> str:
    """Say in one clause what is wrong with a command line, and what was likely meant."""
    problem = error.format_message()
    if error.ctx is not None and (found := re.match(r"No such (option|command):? '?([^\s']+)", problem)):
        kind, name = found.groups()
        known = error.ctx.command
        names = known.commands if kind == "command" else [one for given in known.params for one in given.opts]
        return f"no such {kind} {name!r}{suggest(name, names)}"
    return f"{problem[:1].lower()}{problem[1:].rstrip('.?')}"
