"""The page for everybody: axe finds nothing, 360 pixels are enough, and a server that restarts is waited for."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from browsing import OpenPage, Site, add_pictures, serving_page, wait_until

VIEWS = {
    "/": ".card strong",
    "/collections/photos": ".facet, .grid li",
    "/collections/photos?like=rose/1.jpg&unlike=tulip/1.jpg&item=rose/2.jpg": ".trust",
    "/collections/desk/label": ".class",
    "/collections/desk/train": ".train-form",
    "/collections/desk/map": ".class",
    "/server": ".model",
}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.mark.parametrize("path", VIEWS)
@pytest.mark.parametrize("look", ["light", "dark", "contrast"])
def test_axe_finds_nothing(open_page: OpenPage, path: str, look: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = open_page(path, color_scheme="dark" if look == "dark" else "light", reduced_motion="reduce")
    page.get_by_label("Colours").select_option("contrast" if look == "contrast" else "")
    page.wait_for_selector(VIEWS[path])
    page.wait_for_load_state("networkidle")
    found = axe.run(page, options={"runOnly": {"type": "tag", "values": RULES}}).response["violations"]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found] == []


@pytest.mark.parametrize("path", VIEWS)
def test_360_pixels_are_enough(open_page: OpenPage, path: str) -> None:
    page = open_page(path, width=360)
    page.wait_for_selector(VIEWS[path])
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, .open, header a, select, input:not(.unseen, [type=checkbox])")]
            .filter((one) => one.offsetParent && Math.min(one.offsetWidth, one.offsetHeight) < 24)
            .map((one) => one.outerHTML.slice(0, 120))"""
    )
    assert small == []  # targets of 24 pixels, WCAG 2.2


def test_the_keyboard_alone_reaches_everything(open_page: OpenPage) -> None:
    page = open_page("/collections/photos")
    page.wait_for_selector(".grid li")
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.textContent")
        )
    assert {"Skip to the content", "Label", "Server", "Choose a picture", "Colours"} <= reached
    assert any(text.startswith("Find pictures like") for text in reached)
    assert any(text.startswith("More like") for text in reached)


def test_results_are_said(open_page: OpenPage) -> None:
    page = open_page("/collections/photos?like=rose/1.jpg")
    page.wait_for_selector(".score")
    assert page.locator("#live").inner_text().startswith("23 neighbours, nearest first. The best has a score of 0.")


def test_a_restart_is_said_and_healed(open_page: OpenPage, site: Site, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with serving_page(tmp_path / "data", site.pictures, http=address) as served:
        with served.connect() as client:
            add_pictures(client, "photos", site.pictures)
        page = open_page(served.url + "/collections/photos/label")
        page.wait_for_selector(".labelling .open")
    page.locator("[data-id='beach/0.jpg'] .open").focus()
    page.keyboard.press("2")  # the server is gone
    page.locator("#banner", has_text="The server is away").wait_for()
    assert page.locator("[data-id='beach/0.jpg'].pending.labelled").count() == 1
    with serving_page(tmp_path / "data", site.pictures, http=address) as served:
        page.locator("#banner").wait_for(state="hidden")
        wait_until(page, "!document.querySelector('.pending')")
        with served.connect() as client:
            records = client.collection("photos").labels(["beach/0.jpg"])
            assert [(one.label, one.verdict) for one in records] == [("beach", "negative"), ("rose", "positive")]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
