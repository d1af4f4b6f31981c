"""`fc7 ui`: the page over the user's own data folder, reached with a token, and pictures after asking once."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

import fc7
from servers import WAIT_S, clean_environment, serve_command, write_jpegs
from web import JSON, Answer, ask

ID = "beach/a.jpg"


@pytest.fixture
def data(tmp_path: Path, tiny_bundle: Path) -> Path:
    """A data folder with a collection of two pictures from `holiday/`."""
    write_jpegs(tmp_path / "holiday", [ID, "beach/b.jpg"])
    with fc7.connect(data=tmp_path / "data", models=[str(tiny_bundle)]) as client:
        client.create_collection("photos").add(sorted((tmp_path / "holiday").rglob("*.jpg")), root=tmp_path / "holiday")
    return tmp_path / "data"


@contextmanager
def running_ui(data: Path, bundle: Path, *args: str, answer: str = "") -> Iterator[tuple[str, str]]:
    """Run the command, as in a terminal where somebody gives ``answer``; yield the page's address and its token."""
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    process = subprocess.Popen(
        [sys.executable, "-m", "fc7", "ui", "--data", str(data), "--http", "127.0.0.1:0", "--no-open", *args],
        stdin=theirs if answer else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean_environment(), "FC7_MODELS": str(bundle)},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        lines = iter(process.stdout.readline, "")
        address = next(line for line in lines if "#token=" in line).rpartition(" ")[2].strip()
        yield urlsplit(address).netloc, parse_qs(urlsplit(address).fragment)["token"][0]
    finally:
        process.terminate()
        assert process.wait(WAIT_S) == 0
        process.stdout.close()
        process.stderr.close()
        os.close(ours)
        os.close(theirs)


def picture(place: str, token: str) -> Answer:
    """Ask for the picture of an item, in a session that begins with the token."""
    session = ask(place, "/session", json.dumps({"token": token}).encode(), content_type=JSON)
    assert session.status == 204
    return ask(
        place, f"/pictures/photos?id={quote(ID, safe='')}", cookie=session.headers["set-cookie"].partition(";")[0]
    )


def test_pictures_are_shown_after_asking_once(data: Path, tiny_bundle: Path) -> None:
    with running_ui(data, tiny_bundle, answer="y\n") as (place, token):
        assert ask(place, "/").status == 401  # only who has the address with the token reaches the page
        assert picture(place, token).headers["content-type"] == "image/webp"
    with running_ui(data, tiny_bundle) as (place, token):  # nobody is there to answer, and nothing is asked
        assert picture(place, token).status == 200


def test_pictures_stay_hidden_after_a_no(data: Path, tiny_bundle: Path) -> None:
    with running_ui(data, tiny_bundle, answer="n\n") as (place, token):
        assert picture(place, token).status == 404
    with running_ui(data, tiny_bundle) as (place, token):
        assert picture(place, token).status == 404


def test_folders_that_are_named_are_shown_without_asking(data: Path, tiny_bundle: Path) -> None:
    with running_ui(data, tiny_bundle, "--pictures", str(data.parent / "holiday")) as (place, token):
        assert picture(place, token).status == 200


def test_a_server_that_holds_the_folder_is_used(data: Path, tiny_bundle: Path) -> None:
    command = [sys.executable, "-m", "fc7", "ui", "--data", str(data), "--no-open"]
    served = subprocess.Popen(
        [*serve_command(data, "--model", str(tiny_bundle)), "--http", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=clean_environment(),
    )
    assert served.stdout is not None
    try:
        _, url = (served.stdout.readline().split()[-1] for _ in range(2))
        done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), timeout=WAIT_S)
        assert done.returncode == 0
        assert done.stdout.startswith(url)
    finally:
        served.terminate()
        served.wait(WAIT_S)
        served.stdout.close()


def test_a_server_without_a_page_is_said(data: Path, tiny_bundle: Path) -> None:
    with fc7.connect(data=data, models=[str(tiny_bundle)]):
        done = subprocess.run(
            [sys.executable, "-m", "fc7", "ui", "--data", str(data), "--no-open"],
            capture_output=True,
            text=True,
            env=clean_environment(),
            timeout=WAIT_S,
        )
    assert done.returncode == 4
    assert f"process {os.getpid()} uses the data folder and serves no page" in done.stderr


def test_the_address_opens_the_page_and_forgets_the_token(data: Path, tiny_bundle: Path, browser: Any) -> None:
    with running_ui(data, tiny_bundle) as (place, token):
        page = browser.new_page()
        page.goto(f"http://{place}/#token={token}&by=ann%20b")
        page.locator(".card strong", has_text="photos").wait_for()
        assert page.url == f"http://{place}/"
        assert page.evaluate("localStorage.getItem('by')") == "ann b"
        stranger = browser.new_context().new_page()
        stranger.goto(f"http://{place}/")
        stranger.get_by_role("dialog", name="Sign in").get_by_label("Token").fill("wrong")
        stranger.keyboard.press("Enter")
        stranger.get_by_role("alert").filter(has_text="token").wait_for()
        stranger.get_by_label("Token").fill(token)
        stranger.keyboard.press("Enter")
        stranger.locator(".card strong", has_text="photos").wait_for()
        stranger.context.close()
        page.close()
