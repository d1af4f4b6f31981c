"""The command itself: help, settings, errors, output. No server."""

from __future__ import annotations

import ast
import json
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fc7.cli import COMMANDS, main
from fc7.cli.output import complain, emit, end, progress, table
from fc7.cli.setting import NAMES, Connection, connected, setting
from fc7.errors import FAMILY, Fc7Error, InvalidArgument

DOCS = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
FOLDER = Path(main.callback.__code__.co_filename).parent


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
    assert not {"rich", "numpy", "grpc", "google", "PIL", "platformdirs", "tomllib"} & {
        m.partition(".")[0] for m in modules
    }
    assert [m for m in modules if m.startswith("fc7")] == ["fc7", "fc7.cli", "fc7.errors"]


def test_no_command_module_imports_more_than_click_at_its_top() -> None:
    for path in FOLDER.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.partition(".")[0]
                assert top in sys.stdlib_module_names | {"click"} or name.startswith(("fc7.cli", "fc7.errors")), path


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
    shared = {"--json", "--server", "--data", "--token-file", "--tls-ca"}
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{name} {option.opts}"
            assert set(option.opts) <= shared or any(f" {option.opts[0]}" in line for line in examples(name)), option
    assert isinstance(command, click.Group) or examples(name), name


@pytest.mark.parametrize("line", [line for line in DOCS.splitlines() if line.startswith("fc7 ")])
def test_every_line_of_the_docs_is_taken(line: str) -> None:
    context, command, words = click.Context(main), main, shlex.split(line)[1:]
    while isinstance(command, click.Group):
        _, command, words = command.resolve_command(context, words)
    assert command is not None
    command.make_context(command.name, words)


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


def test_an_unknown_command_is_a_usage_error() -> None:
    assert CliRunner().invoke(main, ["explode"]).exit_code == 2


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
    assert result.stderr.startswith("fc7: error: unexpected ZeroDivisionError: by zero;")
    assert result.stderr.count("\n") == 1
    shown = CliRunner().invoke(main, ["--traceback", "collection", "list"])
    assert isinstance(shown.exception, ZeroDivisionError)


def test_a_missing_library_is_answered_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ModuleNotFoundError("No module named 'skimage.data'", name="skimage.data"))
    result = CliRunner().invoke(main, ["collection", "list"])
    assert result.exit_code == 4
    assert result.stderr == "fc7: error: skimage is not installed: pip install 'fc7[demo]'\n"


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
        "from fc7.cli.output import emit\nfrom fc7.cli import main\nimport click, fc7.cli.health as h\n"
        "def run(**_):\n    while True: emit({'x': 1})\n"
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
        ("sever = 'x'", "no setting is named 'sever'"),
        ("threads = ", "fc7.toml"),
        ("threads = 0", "0 is not in the range"),
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


def test_every_setting_is_an_option_somewhere() -> None:
    names = {option.name for _, command in commands() for option in command.params if hasattr(option, "envvar")}
    assert set(NAMES) <= names


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"id": "ä\n", "n": 1.5})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {"id": "ä\n", "n": 1.5}


def test_a_table_is_neither_wrapped_nor_marked_up_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    table(("id", "score"), [("[red]" + "x" * 300, 0.123456), ("b", 12)])
    lines = capsys.readouterr().out.splitlines()
    assert "[red]" + "x" * 300 in lines[2]
    assert lines[2].endswith("0.1235")
    assert len(lines) == 4


def test_failures_end_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    complain("a.jpg", InvalidArgument("not\na picture"))
    assert capsys.readouterr().err == "fc7: a.jpg: not a picture\n"
    end(0)
    with pytest.raises(click.exceptions.Exit) as ended:
        end(3)
    assert ended.value.exit_code == 1


def test_no_bar_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("work", 3) as report:
        report(3)
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
