"""A token that ends while the page is open: the page says so, asks for another one, and goes on."""

from __future__ import annotations

import datetime
import os
import time
from pathlib import Path
from typing import Any

from servers import WAIT_S, serving
from web import call


def write(tokens: Path, word: str, day: datetime.date) -> None:
    new = tokens.with_name("new")
    new.write_text(f"admin {word} expires={day}\n")
    os.replace(new, tokens)


def sign_in(page: Any, word: str) -> None:
    page.locator("#token").fill(word)
    page.get_by_role("button", name="Sign in").click()


def test_a_token_that_ends_is_asked_for_again(browser: Any, tiny_bundle: Path, tmp_path: Path) -> None:
    tokens, today = tmp_path / "tokens", datetime.datetime.now(datetime.UTC).date()
    write(tokens, "first", today + datetime.timedelta(2))
    words = ("--model", str(tiny_bundle), "--http", "127.0.0.1:0", "--token-file", str(tokens))
    with serving(tmp_path / "data", *words) as served:
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"http://{served.http}/server")
        sign_in(page, "wrong")
        page.get_by_text("this server does not know the token").wait_for()
        sign_in(page, "first")
        page.wait_for_selector("main:not([aria-busy]) h1")
        write(tokens, "first", today - datetime.timedelta(2))
        end = time.monotonic() + WAIT_S
        while call(served.http, "ModelService/ListModels", {}, authorization="Bearer first").status != 401:
            assert time.monotonic() < end
        page.get_by_role("link", name="Collections", exact=True).click()
        page.get_by_text("this token expired on").wait_for()
        write(tokens, "second", today + datetime.timedelta(2))
        while call(served.http, "ModelService/ListModels", {}, authorization="Bearer second").status != 200:
            assert time.monotonic() < end
        sign_in(page, "second")
        page.wait_for_selector("body[data-view='home'] main:not([aria-busy])")
        page.close()
