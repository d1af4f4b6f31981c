"""The documents without JavaScript, and what the page weighs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from browsing import OpenPage, Site, serving_page
from servers import jpeg
from web import ask

NASTY = "<img onerror=window.broken=1 src=x>"
MOST_BYTES, MOST_REQUESTS = 150_000, 12


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server in which every name, payload and label that a user chooses is HTML."""
    folder = tmp_path_factory.mktemp("nasty")
    files = []
    for seed in range(12):
        files.append(folder / f"{seed} {NASTY.replace('/', '')}.jpg")
        files[-1].write_bytes(jpeg(seed))
    with serving_page(folder / "data", folder) as served, served.connect() as client:
        payloads = [{"path": str(file), "label": f"{NASTY}{i % 2}", NASTY: NASTY} for i, file in enumerate(files)]
        client.create_collection("nasty").add(files, ids=[f"{i}{NASTY}" for i in range(12)], payloads=payloads)
        client.train_head("nasty", collection="nasty")
        yield served


@pytest.mark.parametrize("path", ["/", "/collections/nasty", "/heads/nasty", "/server"])
def test_lists_can_be_read_without_javascript_and_text_is_never_html(nasty: Site, path: str) -> None:
    answer = ask(nasty.url.removeprefix("http://"), path)
    text = answer.body.decode()
    assert answer.status == 200
    assert "<h1>" in text
    assert "<td>" in text
    assert "<img" not in text
    assert path != "/collections/nasty" or text.count("&lt;img") >= 12


def test_an_unknown_collection_is_404(nasty: Site) -> None:
    answer = ask(nasty.url.removeprefix("http://"), "/collections/none")
    assert answer.status == 404
    assert "no collection" in answer.body.decode()


VIEWS = {
    "/": ".card strong",
    "/collections/nasty": ".grid li",
    f"/collections/nasty?like=0{NASTY}&item=1{NASTY}": ".detail .facts",
    "/collections/nasty/label": ".class",
    "/collections/nasty/train": ".figure",
    "/heads/nasty": ".figure",
    "/collections/nasty/map": ".class",
    "/server": ".model",
}


@pytest.mark.parametrize("path", VIEWS)
def test_no_view_takes_text_for_html(open_page: OpenPage, nasty: Site, path: str) -> None:
    page = open_page(nasty.url + path)
    page.wait_for_selector(VIEWS[path])
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.broken") is None
    assert page.locator("[onerror]").count() == 0


WEIGHED = ("", "?like=rose/1.jpg&item=rose/2.jpg", "/label?show=next", "/train", "/map")


@pytest.mark.parametrize("path", ["/", "/server", *(f"/collections/photos{view}" for view in WEIGHED)])
def test_page_weighs_little(browser: Any, site: Site, path: str) -> None:
    context = browser.new_context()
    refusal = {"code": "not_found", "message": "no explanation: it takes long, and weighs nothing"}
    context.route("**/fc7.v1.ExplainService/*", lambda route: route.fulfill(status=404, json=refusal))
    page, answers = context.new_page(), []
    page.on("response", lambda answer: answers.append(answer))  # Playwright marks what it calls
    page.goto(site.url + path)
    page.wait_for_load_state("networkidle")
    files = [one for one in answers if "/pictures/" not in one.url and one.request.method == "GET"]
    assert all(one.url.startswith(site.url) for one in answers)
    assert sum(len(one.body()) for one in files) <= MOST_BYTES
    assert len(files) <= MOST_REQUESTS
    context.close()
