"""A server with a few pictures, and Chromium with its page open."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from browsing import N_EACH, OpenPage, Site, add_pictures, is_problem, serving_page
from world import picture

ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage", "--use-fake-device-for-media-stream")
CLASSES = ("beach", "rose", "tulip")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("page")
    pictures = folder / "pictures"
    for kind in CLASSES:
        (pictures / kind).mkdir(parents=True)
        for seed in range(N_EACH):
            picture(kind, seed).save(pictures / kind / f"{seed}.jpg", quality=90)
    with serving_page(folder / "data", pictures) as served:
        with served.connect() as client:
            for name in ("photos", "desk"):
                add_pictures(client, name, pictures)
        yield served


@pytest.fixture(
    scope="module"
)  # Playwright's event loop may not outlive the module: other tests have loops of their own
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed. Debian has it: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def open_page(browser: Any, site: Site) -> Iterator[OpenPage]:
    """Open addresses of the page; at the end, no script may have failed."""
    contexts, problems = [], []

    def open_at(path: str, *, width: int = 1280, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if is_problem(message) else None)
        page.goto(path if "://" in path else site.url + path)
        page.wait_for_selector("body[data-view] main:not([aria-busy])")
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert problems == []
