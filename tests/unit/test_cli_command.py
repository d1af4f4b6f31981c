"""The command itself: help, settings, errors, output. No server."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import click
import pytest
from click.testing import CliRunner

from fc7.cli import COMMANDS, main
from fc7.cli.add import open_collection
from fc7.cli.connection import Connection, connected
from fc7.cli.head import print_heads
from fc7.cli.output import confirm, exit_if_failed, print_json, print_note, print_table, printable, progress_bar
from fc7.cli.settings import NAMES, setting
from fc7.client import Client
from fc7.errors import FAMILY, AlreadyExists, DataLoss, Fc7Error, InvalidArgument, NotFound, Unavailable
from fc7.results import Classification, Head, Item, Model, Provenance
from fc7.searches import Hit

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "reference" / "command.md").read_text(encoding="utf-8")
FOLDER = Path(main.callback.__code__.co_filename).parent
HEAVY = {"rich", "numpy", "grpc", "google", "PIL", "platformdirs", "pyarrow", "skimage", "fc7_service", "fc7_models"}


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def open_(self: Connection) -> None:
        raise error

    monkeypatch.setattr(Connection, "open", open_)


def commands() -> list[tuple[str, click.Command]]:
    context = click.Context(main)
    found = []
    for name in COMMANDS:
        command = main.get_command(context, name)
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {sub}", part) for sub, part in command.commands.items()]
    return found


def examples(name: str) -> list[str]:
    return [line for line in DOCS.splitlines() if f"{line} ".startswith(f"fc7 {name} ") or f"`fc7 {name}" in line]


def test_help_imports_click_alone() -> None:
    code = "import sys\nfrom fc7.cli import main\ntry: main(['--help'])\nexcept SystemExit: print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = ast.literal_eval(done.stdout.splitlines()[-1])
    assert not (HEAVY | {"tomllib"}) & {name.partition(".")[0] for name in modules}
    assert [m for m in modules if m.startswith("fc7")] == [
        "fc7",
        "fc7.cli",
        "fc7.contract",
        "fc7.contract.reasons",
        "fc7.errors",
    ]


def test_importing_every_file_of_the_command_loads_click_alone() -> None:
    names = [f"fc7.cli.{path.stem}" for path in sorted(FOLDER.glob("*.py")) if path.stem != "__init__"]
    code = f"import sys, {', '.join(names)}\nprint(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & {name.partition(".")[0] for name in ast.literal_eval(done.stdout)}


def test_table_of_commands_tells_each_one_as_its_own_help_does() -> None:
    context = click.Context(main)
    for name, (_, text) in COMMANDS.items():
        command = main.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.help is not None
        assert " ".join(command.help.split()).startswith(text), name
    assert main.get_command(context, "nothing") is None


@pytest.mark.parametrize(("name", "command"), commands())
def test_every_command_and_option_has_help_and_a_place_in_the_docs(name: str, command: click.Command) -> None:
    assert command.help
    shared = {"--json", "--server", "--data", "--token-file", "--tls-ca", "--tls-client"}
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{name} {option.opts}"
            assert set(option.opts) <= shared or any(f" {option.opts[0]}" in line for line in examples(name)), option
    assert isinstance(command, click.Group) or examples(name), name


@pytest.mark.parametrize("kind", FAMILY)
def test_every_exit_code_is_in_the_docs(kind: type[Fc7Error]) -> None:
    assert f"| {kind.exit_code} |" in DOCS


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_there(shell: str) -> None:
    assert f"_FC7_COMPLETE={shell}_source" in DOCS
    result = CliRunner().invoke(main, [], prog_name="fc7", env={"_FC7_COMPLETE": f"{shell}_source"})
    assert "_FC7_COMPLETE" in result.stdout


def test_version() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("fc7 ")


def test_python_m_fc7_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "fc7", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: fc7 ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["explode"], "No such command 'explode'."),
        (["serach"], "Did you mean one of: 'extract', 'search'?"),
        (["collection", "delet"], "No such command 'delet'. Did you mean 'delete'?"),
        (["collection", "list", "--jsn"], "Did you mean '--json'?"),
    ],
)
def test_what_is_mistyped_is_a_usage_error_that_names_what_is_like_it(words: list[str], said: str) -> None:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize("kind", FAMILY)
def test_each_error_is_one_line_with_its_exit_code(kind: type[Fc7Error], monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, kind("item 'x' is wrong:\n  do better"))
    result = CliRunner().invoke(main, ["collection", "list"])
    assert result.exit_code == kind.exit_code
    assert result.stderr == "fc7: error: item 'x' is wrong: do better\n"
    assert result.stdout == ""


def test_an_unexpected_error_is_one_line_and_70(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ZeroDivisionError("by zero"))
    result = CliRunner().invoke(main, ["collection", "list"])
    assert result.exit_code == 70
    assert result.stderr.startswith("fc7: error: unexpected ZeroDivisionError: by zero. Please report it")
    assert result.stderr.count("\n") == 1
    shown = CliRunner().invoke(main, ["--traceback", "collection", "list"])
    assert isinstance(shown.exception, ZeroDivisionError)


def test_a_missing_library_is_answered_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ModuleNotFoundError("No module named 'skimage.data'", name="skimage.data"))
    result = CliRunner().invoke(main, ["collection", "list"])
    assert result.exit_code == 4
    assert result.stderr == "fc7: error: skimage is not installed. Install it with: pip install 'fc7[demo]'\n"


def test_an_error_of_the_machine_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, OSError(28, "No space left on device", "out.npz"))
    result = CliRunner().invoke(main, ["collection", "list"])
    assert result.exit_code == 4
    assert "No space left on device: 'out.npz'" in result.stderr


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    result = CliRunner().invoke(main, ["collection", "list"])
    assert result.exit_code == 130
    assert "Traceback" not in result.stderr


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    code = (
        "from fc7.cli.output import print_json\nfrom fc7.cli import main\nimport click, fc7.cli.health as h\n"
        "def run(**_):\n    while True: print_json({'x': 1})\n"
        "h.health.callback = run\nmain(['health'])"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == '{"x": 1}\n'
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(30) == 1


def taking(monkeypatch: pytest.MonkeyPatch, folder: Path, args: list[str], **env: str) -> dict[str, object]:
    """Run a command that notes its settings; return them."""
    noted: dict[str, object] = {}

    @click.command()
    @setting("--threads", type=click.IntRange(min=1), default=3)
    @setting("--model", "models", multiple=True)
    @setting("--insecure", is_flag=True)
    @connected
    def note(connection: Connection, **values: object) -> None:
        noted.update(values, server=connection.server, data=connection.data)

    monkeypatch.chdir(folder)
    result = CliRunner().invoke(note, args, env=env, catch_exceptions=False)
    return noted | {"exit_code": result.exit_code, "stderr": result.stderr}


def test_flag_before_variable_before_file_before_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert taking(monkeypatch, tmp_path, [])["threads"] == 3
    (tmp_path / "fc7.toml").write_text(
        'threads = 5\nmodels = ["a", "b"]\ninsecure = true\nserver = "box:1"\ndata = "here"\n'
    )
    noted = taking(monkeypatch, tmp_path, [])
    assert noted["threads"] == 5
    assert noted["models"] == ("a", "b")
    assert noted["insecure"] is True
    assert noted["server"] == "box:1"
    assert noted["data"] == Path("here")
    variables = {"FC7_THREADS": "7", "FC7_MODELS": "c d", "FC7_SERVER": "box:2", "FC7_INSECURE": "0"}
    noted = taking(monkeypatch, tmp_path, [], **variables)
    assert (noted["threads"], noted["models"], noted["server"], noted["insecure"]) == (7, ("c", "d"), "box:2", False)
    args = ["--threads", "9", "--model", "e", "--server", "box:3"]
    noted = taking(monkeypatch, tmp_path, args, **variables)
    assert (noted["threads"], noted["models"], noted["server"]) == (9, ("e",), "box:3")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sever = 'x'", "there is no setting 'sever'"),
        ("threads = ", "fc7.toml"),
        ("threads = 0", "0 is not in the range"),
        ("threads = '4'", "fc7.toml: threads must be a whole number (got '4')"),
        ("threads = true", "fc7.toml: threads must be a whole number (got True)"),
        ("data = 5", "fc7.toml: data must be a string (got 5)"),
        ("models = 'alexnet-64'", "fc7.toml: models must be a list of strings (got 'alexnet-64')"),
        ("models = ['a', 1]", "fc7.toml: models must be a list of strings (got ['a', 1])"),
        ("insecure = 'yes'", "fc7.toml: insecure must be true or false (got 'yes')"),
        ("[server]", "fc7.toml: server must be a string (got {})"),
    ],
)
def test_a_bad_file_is_a_usage_error(text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fc7.toml").write_text(text)
    noted = taking(monkeypatch, tmp_path, [])
    assert noted["exit_code"] == 2
    assert said in str(noted["stderr"])


def test_a_data_folder_on_the_line_is_meant_whatever_server_the_shell_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert taking(monkeypatch, tmp_path, ["--data", "here"], FC7_SERVER="box:1")["server"] is None
    assert taking(monkeypatch, tmp_path, [], FC7_SERVER="box:1", FC7_DATA="here")["server"] == "box:1"
    assert taking(monkeypatch, tmp_path, ["--data", "here", "--server", "box:1"])["exit_code"] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("extract", "--output", "folder.npz"), "'folder.npz' is a folder"),
        (("extract", "--output", "locked/f.npz"), "is not writable"),
        (("extract", "--output", "locked.npz"), "is not writable"),
        (("collection", "items", "--output", "f.xyz"), "must end in one of .csv, .json, .jsonl"),
        (("collection", "items", "--output", "f.csv", "--json"), "has another format than --json"),
        (("collection", "items", "--csv", "--json"), "--csv and --json exclude each other"),
        (("collection", "items", "--output", "locked/f.csv"), "is not writable"),
        (("search", "c", "--sheet", "s.xyz"), "no format has that suffix"),
        (("search", "c", "--sheet", "none"), "no format has that suffix"),
        (("search", "c", "--sheet", "locked/s.png"), "is not writable"),
        (("search", "c", "--sheet", "missing/s.png"), "'missing' does not exist"),
    ],
)
def test_what_could_not_be_written_is_refused_before_any_work(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, AssertionError("the work began"))
    monkeypatch.chdir(tmp_path)
    Path("one.png").write_bytes(b"x")
    Path("locked.npz").write_bytes(b"x")
    for name in ("locked", "folder.npz"):
        Path(name).mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK or "locked" not in str(path))
    result = CliRunner().invoke(main, [*words, "one.png"])
    assert said in result.stderr
    assert result.exit_code in (2, 4)


class Terminal(io.StringIO):
    """A stream where somebody sits."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    "words",
    [("collection", "delete", "c"), ("head", "delete", "h", "--all"), ("head", "delete", "h", "--version", "2")],
)
def test_what_deletes_asks_first(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    client = MagicMock(spec=Client)
    client.__enter__.return_value = client
    monkeypatch.setattr(Connection, "open", lambda _: client)
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "There is no terminal to ask on. To confirm, give --yes" in result.stderr
    client.collection.side_effect = client.head.side_effect = DataLoss("damaged")
    assert CliRunner().invoke(main, words).exit_code == 2
    client.collection.side_effect = client.head.side_effect = NotFound("there is none")
    assert CliRunner().invoke(main, words).exit_code == 3  # nothing to ask about
    assert not client.delete_collection.called
    assert not client.delete_head.called
    client.collection.side_effect = client.head.side_effect = DataLoss("damaged")
    assert CliRunner().invoke(main, [*words, "--yes"]).exit_code == 0
    assert client.delete_collection.called or client.delete_head.called


def test_only_a_yes_is_a_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in ("\n", "n\n"):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        with pytest.raises(click.Abort):
            confirm("Delete all?", is_sure=False)
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    confirm("Delete all?", is_sure=False)


@pytest.mark.parametrize("number", ["0", "-1", "999999999999", "1.5", "many"])
@pytest.mark.parametrize(
    "words",
    [
        ("search", "c", "--id", "x", "-k"),
        ("classify", "a.png", "--top"),
        ("head", "publish", "h", "--version"),
        ("head", "show", "h", "--version"),
        ("head", "delete", "h", "--yes", "--version"),
        ("head", "evaluate", "h", ".", "--version"),
        ("explain", "occlude", "a.png", "--square"),
        ("collection", "items", "c", "--limit"),
        ("serve", "--threads"),
    ],
)
def test_a_number_that_breaks_its_rule_is_a_usage_error(
    words: tuple[str, ...], number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, AssertionError("the work began"))
    result = CliRunner().invoke(main, [*words, number])
    assert result.exit_code == 2
    assert f"{number} is not in the range" in result.stderr or f"{number!r} is not a valid integer" in result.stderr


def test_a_label_is_of_a_collection() -> None:
    result = CliRunner().invoke(main, ["head", "train", "h", "folder", "--label", "x"])
    assert result.exit_code == 2
    assert "--label, --records, --group and --instant are for --collection" in result.stderr


class Racing:
    """A client before which another run creates the collection."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def collection(self, name: str) -> str:
        self.asked.append(name)
        if len(self.asked) == 1:
            raise NotFound(f"no collection {name!r}")
        return f"collection {name}"

    def create_collection(self, name: str) -> str:
        raise AlreadyExists(f"collection {name!r} exists")


def test_a_collection_that_another_run_created_first_is_taken() -> None:
    client = Racing()
    assert open_collection(client, "c") == ("collection c", False)  # type: ignore[arg-type]
    assert client.asked == ["c", "c"]


class Classifying:
    """A client that notes how many answers had been printed when it was asked."""

    def __init__(self, printed: list[object]) -> None:
        self._printed, self.before = printed, []

    def __enter__(self) -> Classifying:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def classify(self, images: list[Path], **_: object) -> list[Classification]:
        self.before.append(len(self._printed))
        return [Classification([("cat", 0.9)]) for _ in images]


def test_classify_prints_batch_by_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(130):
        (tmp_path / f"{i}.png").write_bytes(b"x")
    printed: list[object] = []
    client = Classifying(printed)
    monkeypatch.setattr(Connection, "open", lambda self: client)
    monkeypatch.setattr("fc7.cli.classify.print_json", printed.append)
    result = CliRunner().invoke(main, ["classify", str(tmp_path), "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    assert client.before == [0, 64, 128]
    assert len(printed) == 130


def test_health_starts_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, AssertionError("a server was asked"))
    result = CliRunner().invoke(main, ["health", "--data", str(tmp_path / "data")])
    assert result.exit_code == 7
    assert "no server holds the data folder" in result.stderr
    assert not (tmp_path / "data").exists()


def test_health_of_a_bad_address_is_2_and_without_the_service_4(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CliRunner().invoke(main, ["health", "--server", "nowhere"]).exit_code == 2
    monkeypatch.delitem(sys.modules, "fc7_service.data_folder", raising=False)
    monkeypatch.setitem(sys.modules, "filelock", None)
    result = CliRunner().invoke(main, ["health", "--data", "data"])
    assert result.exit_code == 4
    assert "filelock is not installed. Install it with: pip install 'fc7[cpu]'" in result.stderr


def test_doctor_prints_what_a_server_says_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, Unavailable("the server stops\n\nall well"))
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1
    assert "problem: server: the server stops all well\n" in result.stdout
    assert "all well" not in result.stdout.splitlines()


def test_an_unreadable_head_is_listed_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    provenance = Provenance("d", "m", "g", "r", "fc7", "none", "fp32")
    facts: dict[str, Any] = dict.fromkeys(("count", "accuracy", "held_out", "seconds", "published_version"), 0)
    facts |= {"classes": [], "provenance": provenance, "weights_sha256": "", "created": "", "parent_version": 0}
    print_heads([Head(name="h", version=2, method="unreadable: cut", **facts)], as_json=False)
    assert "unreadable: cut" in capsys.readouterr().out


def test_every_model_option_takes_a_bundle() -> None:
    found = {}
    for name, command in commands():
        for option in command.params:
            if "--model" in option.opts and name != "serve":
                found[name] = option
    assert len(found) > 10
    with_server = {name for name, command in commands() if any(o.name == "server" for o in command.params)}
    for name, option in found.items():
        assert "BUNDLE" in str(option.metavar), name
        assert option.name == "model" or name not in with_server, f"`connected` finds no bundle of {name}"


def test_every_setting_is_an_option_somewhere() -> None:
    names = {option.name for _, command in commands() for option in command.params if hasattr(option, "envvar")}
    assert set(NAMES) <= names


HOSTILE = "\x1b[2J\x9b31mcat\u202egpj\n\x00\ud800\u2028"
SHOWN = r"\x1b[2J\x9b31mcat\u202egpj\n\x00\ud800\u2028"
PROVENANCE = Provenance("d", "m", "g", "r", "fc7", "none", "fp32")


class Hostile(Classifying):
    """A client whose server answers with text that would steer a terminal."""

    def __init__(self) -> None:
        super().__init__([])

    def classify(self, images: list[Path], **_: object) -> list[Classification]:
        return [Classification([(HOSTILE, 0.9)])] * (len(images) - 1) + [Classification([], InvalidArgument(HOSTILE))]

    def head(self, name: str, version: int = 0) -> Head:
        return Head("h", 1, 0, PROVENANCE, [HOSTILE], 1, 1.0, 1, HOSTILE, 1.0, "", "", 0)

    def shadow(self, name: str) -> None:
        return None

    def heads(self, *, all_versions: bool) -> list[Head]:
        return [self.head("h")]

    def model(self, name: str) -> Model:
        return Model("m", "n", [], {HOSTILE: HOSTILE}, "", [], f"line\n\tindented\n{HOSTILE}", "", "fc7")

    def collection(self, name: str, *, check: bool) -> Hostile:
        return self

    def search(self, *_: object, **__: object) -> list[Hit]:
        return [Hit(HOSTILE, 1.0, {"label": HOSTILE})]


@pytest.mark.parametrize(
    "words",
    [("classify", "."), ("head", "show", "h"), ("head", "list"), ("search", "c", "--id", "x"), ("model", "show")],
)
def test_text_from_outside_does_not_steer_the_terminal(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "open", lambda self: Hostile())
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        Path(name).write_bytes(b"x")
    result = CliRunner().invoke(main, words)
    assert SHOWN in result.output
    assert not [c for c in result.output if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl"} and c not in "\n\t"]
    assert json.dumps(HOSTILE) in CliRunner().invoke(main, [*words, "--json"]).stdout


@pytest.mark.parametrize(("majority", "is_warned"), [(0.962, True), (0.952, True), (0.5, False), (None, False)])
def test_a_head_that_does_not_beat_the_largest_class_is_warned_of(
    majority: float | None, is_warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Training(Classifying):
        def train_head(self, name: str, **_: object) -> Head:
            return Head(name, 1, 0, PROVENANCE, ["few", "many"], 312, 0.952, 62, "ridge", 1.0, "", "", 0, majority)

    monkeypatch.setattr(Connection, "open", lambda self: Training([]))
    result = CliRunner().invoke(main, ["head", "train", "h", "--collection", "c"])
    assert result.exit_code == 0
    assert ("no better than always answering the largest class" in result.stderr) == is_warned
    assert "majority" in result.stdout


def test_many_items_are_listed_in_part_which_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stored(Classifying):
        count = 150
        damaged = 0

        def collection(self, name: str) -> Stored:
            return self

        def count_items(self, where: str | None) -> int:
            return self.count

        def items(self, where: str | None, order_by: str, descending: bool) -> Iterator[Item]:
            yield from (Item(f"item-{i}", {"label": 5, "note": HOSTILE}, "") for i in range(self.count))

    monkeypatch.setattr(Connection, "open", lambda self: Stored([]))
    result = CliRunner().invoke(main, ["collection", "items", "c"])
    assert result.stdout.count("item-") == 100
    assert "100 of 150 items are shown. --limit N shows more" in result.stderr
    for option, lines in (("--csv", 151), ("--json", 150)):
        result = CliRunner().invoke(main, ["collection", "items", "c", option])
        assert (result.stdout.count("item-"), len(result.stdout.splitlines()), result.stderr) == (150, lines, "")


def test_joined_emoji_and_every_script_are_printed_as_they_are() -> None:
    text = "café \U0001f469\u200d\U0001f680 日本語 עברית"
    assert printable(text) == text


def test_nothing_is_printed_past_the_place_that_makes_text_safe() -> None:
    for path in FOLDER.glob("*.py"):
        used = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
        assert path.name == "output.py" or not used & {"click.echo", "click.secho", "print", "sys.stdout.write"}, path


def test_a_terminal_that_lacks_a_letter_is_shown_its_number(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fc7", "health", "--data", str(tmp_path / "日本")]
    env = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(command, capture_output=True, env=env, check=False)
    assert done.returncode == 7
    assert rb"\u65e5\u672c" in done.stderr


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"id": "ä\n", "n": 1.5})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {"id": "ä\n", "n": 1.5}


def test_a_table_is_neither_wrapped_nor_marked_up_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("id", "score"), [("[red]" + "x" * 300, 0.123456), ("b", 12)])
    lines = capsys.readouterr().out.splitlines()
    assert "[red]" + "x" * 300 in lines[2]
    assert lines[2].endswith("0.1235")
    assert len(lines) == 4


def test_failures_end_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    print_note("a.jpg", InvalidArgument("not\na picture"))
    assert capsys.readouterr().err == "fc7: a.jpg: not a picture\n"
    print_note("http://a/b.jpg", NotFound("'http://a/b.jpg' does not exist"))
    assert capsys.readouterr().err == "fc7: http://a/b.jpg: does not exist\n"
    exit_if_failed(0)
    with pytest.raises(click.exceptions.Exit) as ended:
        exit_if_failed(3)
    assert ended.value.exit_code == 1


def test_a_bar_tells_that_the_work_is_not_counted_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("work", None):
        pass
    assert "preparing" in shown.getvalue()
    assert "0/?" not in shown.getvalue()
    with progress_bar("work", None) as report:
        report(2, 3)
    assert "2/3" in shown.getvalue()


def test_no_bar_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("work", 3) as report:
        report(3)
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
