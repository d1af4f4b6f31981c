"""Label in the browser: keys give labels, and what the page writes the client reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from browsing import OpenPage, Site, wait_until

FIRST = "beach/0.jpg"


@pytest.fixture(autouse=True)
def labels(site: Site) -> Any:
    """Give the pictures of the desk back the labels that they began with."""
    with site.connect() as client:
        desk = client.collection("desk")
        desk.update({item.id: {"label": item.id.split("/")[0]} for item in desk})
    return None


def stored(site: Site, id: str, field: str = "label") -> Any:
    with site.connect() as client:
        item = client.collection("desk").get([id])[0]
    assert not isinstance(item, Exception)
    return item.payload.get(field)


def wait_until_stored(page: Any) -> None:
    wait_until(page, "!document.querySelector('.labelling .pending')")


def test_keys_label_move_on_and_undo(open_page: OpenPage, site: Site) -> None:
    page = open_page("/collections/desk/label")
    page.locator(f"[data-id='{FIRST}'] .open").focus()
    page.keyboard.press("2")  # beach, rose, tulip
    assert page.locator(f"[data-id='{FIRST}'] .name").inner_text() == "rose"
    assert page.evaluate("document.activeElement.closest('li').dataset.id") == "beach/1.jpg"
    page.keyboard.press("3")
    wait_until_stored(page)
    assert [stored(site, FIRST), stored(site, "beach/1.jpg")] == ["rose", "tulip"]
    page.keyboard.press("u")
    page.locator(".said", has_text="Undone: 1").wait_for()
    wait_until_stored(page)
    assert [stored(site, FIRST), stored(site, "beach/1.jpg")] == ["rose", "beach"]


def test_several_pictures_and_a_new_class(open_page: OpenPage, site: Site) -> None:
    page = open_page("/collections/desk/label?field=mood")
    page.get_by_label("New class").fill("calm")
    page.keyboard.press("Enter")
    page.locator(f"[data-id='{FIRST}'] .open").focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    assert page.locator("[aria-pressed=true]").count() == 2
    page.keyboard.press("1")
    wait_until_stored(page)
    assert [stored(site, FIRST, "mood"), stored(site, "beach/1.jpg", "mood")] == ["calm", "calm"]
    assert stored(site, FIRST) == "beach"
    page.keyboard.press("u")
    page.locator(".said", has_text="Undone: 2").wait_for()
    wait_until_stored(page)
    assert stored(site, FIRST, "mood") is None


def test_a_locked_label_stays(open_page: OpenPage, site: Site) -> None:
    page = open_page("/collections/desk/label")
    page.locator(f"[data-id='{FIRST}'] .open").focus()
    page.keyboard.press("l")
    wait_until_stored(page)
    assert stored(site, FIRST, "label_locked") is True
    page.keyboard.press("2")
    page.locator(".said", has_text="press l to unlock").wait_for()
    assert stored(site, FIRST) == "beach"
    page.locator(f"[data-id='{FIRST}'] .open").focus()
    page.keyboard.press("l")
    wait_until_stored(page)
    assert stored(site, FIRST, "label_locked") is None


def test_two_tabs_show_the_same_label_and_undo_only_their_own(open_page: OpenPage, site: Site) -> None:
    one = open_page("/collections/desk/label")
    other = one.context.new_page()
    other.goto(one.url)
    for tab, key in ((one, "2"), (other, "3")):
        tab.locator(f"[data-id='{FIRST}'] .open").focus()
        tab.keyboard.press(key)
        wait_until_stored(tab)
    assert stored(site, FIRST) == "tulip"
    wait_until(one, f"document.querySelector(\"[data-id='{FIRST}'] .name\").textContent === 'tulip'")
    one.keyboard.press("u")
    one.locator(".said", has_text="Changed elsewhere").wait_for()
    assert stored(site, FIRST) == "tulip"


def test_question_mark_lists_the_keys_and_typing_labels_nothing(open_page: OpenPage, site: Site) -> None:
    page = open_page("/collections/desk/label")
    page.locator(f"[data-id='{FIRST}'] .open").focus()
    page.keyboard.press("?")
    assert page.get_by_role("dialog", name="Keys").is_visible()
    page.keyboard.press("Escape")
    page.get_by_label("New class").fill("222")
    assert stored(site, FIRST) == "beach"


def test_what_is_shown(open_page: OpenPage) -> None:
    count: Callable[[Any], int] = lambda page: page.locator(".labelling > li").count()  # noqa: E731
    assert count(open_page("/collections/desk/label")) == 24
    assert count(open_page("/collections/desk/label?show=with&field=number")) == 24
    page = open_page("/collections/desk/label?show=without")
    assert page.get_by_text("No picture here").is_visible()
