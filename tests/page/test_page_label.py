"""Label in the browser: keys give labels, and what the page writes the client reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import fc7
from browsing import OpenPage, Site, ids_on, wait_until

FIRST = "beach/0.jpg"


@pytest.fixture(autouse=True)
def labels(site: Site) -> Any:
    """Take all label records and locks of the desk away, so that the labels in the payloads hold again."""
    with site.connect() as client:
        desk = client.collection("desk")
        desk.undo_labels([record.id for record in desk.labels()])
        desk.update(where="label_locked = true", remove=["label_locked"])


def said(site: Site, id: str) -> list[str]:
    """Return the records of an item: +LABEL fits, -LABEL does not; with who said so."""
    with site.connect() as client:
        sign = {"positive": "+", "negative": "-"}
        return [
            f"{sign[one.verdict]}{one.label}{one.by and f' by {one.by}'}"
            for one in client.collection("desk").labels([id])
        ]


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
    assert [said(site, FIRST), said(site, "beach/1.jpg")] == [["-beach", "+rose"], ["-beach", "+tulip"]]
    assert page.locator(".class", has_text="beach").inner_text().split() == ["1", "beach", "6"]
    page.keyboard.press("u")
    page.locator(".said", has_text="Undone: 1").wait_for()
    assert [said(site, FIRST), said(site, "beach/1.jpg")] == [["-beach", "+rose"], []]
    page.locator(f"[data-id='{FIRST}'] .open").focus()
    page.keyboard.press("1")  # back to beach, which an earlier record denies
    wait_until_stored(page)
    page.reload()
    assert page.locator(f"[data-id='{FIRST}'] .name").inner_text() == "beach"
    page.locator(f"[data-id='{FIRST}'] .open").focus()
    page.keyboard.press("0")
    wait_until_stored(page)
    assert said(site, FIRST) == ["-beach", "+rose", "-rose", "+beach", "-beach"]
    page.reload()
    assert page.locator(f"[data-id='{FIRST}'] .name").inner_text() == "no label"


def test_records_say_who_and_are_those_of_the_command(open_page: OpenPage, site: Site) -> None:
    page = open_page("/collections/desk/label")
    page.get_by_label("Your name").fill("ann")
    page.locator(f"[data-id='{FIRST}'] .open").focus()
    page.keyboard.press("2")
    wait_until_stored(page)
    assert said(site, FIRST) == ["-beach by ann", "+rose by ann"]
    with site.connect() as client:
        desk = client.collection("desk")
        assert desk.get([FIRST])[0].payload["label"] == "beach"  # type: ignore[union-attr]
        desk.add_labels([fc7.Label(FIRST, "rose", "negative", "bob"), fc7.Label(FIRST, "moss", by="bob")])
    page.reload()
    assert page.locator(f"[data-id='{FIRST}'] .name").inner_text() == "moss"
    assert page.locator(".class", has_text="moss").inner_text().split() == ["2", "moss", "1"]


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
    assert [said(site, FIRST), said(site, "beach/1.jpg")] == [["+calm"], ["+calm"]]
    page.keyboard.press("u")
    page.locator(".said", has_text="Undone: 2").wait_for()
    assert said(site, FIRST) == []


def lock(site: Site) -> Any:
    with site.connect() as client:
        item = client.collection("desk").get([FIRST])[0]
    assert not isinstance(item, Exception)
    return item.payload.get("label_locked")


def test_a_locked_label_stays(open_page: OpenPage, site: Site) -> None:
    page = open_page("/collections/desk/label")
    page.locator(f"[data-id='{FIRST}'] .open").focus()
    page.keyboard.press("l")
    wait_until_stored(page)
    assert lock(site) is True
    page.keyboard.press("2")
    page.locator(".said", has_text="press l to unlock").wait_for()
    assert said(site, FIRST) == []
    page.locator(f"[data-id='{FIRST}'] .open").focus()
    page.keyboard.press("l")
    wait_until_stored(page)
    assert lock(site) is None


def test_two_tabs_show_the_same_label_and_undo_only_their_own(open_page: OpenPage, site: Site) -> None:
    one = open_page("/collections/desk/label")
    other = one.context.new_page()
    other.goto(one.url)
    for tab, key in ((one, "2"), (other, "3")):
        tab.locator(f"[data-id='{FIRST}'] .open").focus()
        tab.keyboard.press(key)
        wait_until_stored(tab)
    both = ["-beach", "+rose", "-rose", "+tulip"]
    assert said(site, FIRST) == both
    wait_until(one, f"document.querySelector(\"[data-id='{FIRST}'] .name\").textContent === 'tulip'")
    one.keyboard.press("u")
    one.locator(".said", has_text="Changed elsewhere").wait_for()
    assert said(site, FIRST) == both


def test_question_mark_lists_the_keys_and_typing_labels_nothing(open_page: OpenPage, site: Site) -> None:
    page = open_page("/collections/desk/label")
    page.locator(f"[data-id='{FIRST}'] .open").focus()
    page.keyboard.press("?")
    assert page.get_by_role("dialog", name="Keys").is_visible()
    page.keyboard.press("Escape")
    page.get_by_label("New class").fill("222")
    assert said(site, FIRST) == []


def test_what_is_shown(open_page: OpenPage, site: Site) -> None:
    count: Callable[[Any], int] = lambda page: page.locator(".labelling > li").count()  # noqa: E731
    assert count(open_page("/collections/desk/label")) == 24
    assert count(open_page("/collections/desk/label?show=with&field=number")) == 24
    page = open_page("/collections/desk/label?show=without")
    assert page.get_by_text("No picture here").is_visible()
    with site.connect() as client:
        client.collection("desk").add_labels([fc7.Label(FIRST, "beach", "negative")])
    assert count(open_page("/collections/desk/label?show=without")) == 1
    assert count(open_page("/collections/desk/label?show=with&field=none")) == 0


def test_suggestions_are_labelled_by_keyboard(open_page: OpenPage, site: Site) -> None:
    with site.connect() as client:
        desk = client.collection("desk")
        desk.add_labels([fc7.Label(f"{kind}/{n}.jpg", kind, by="ann") for kind in ("rose", "tulip") for n in range(3)])
        client.train_head("desk", collection="desk", label=None)
    page = open_page("/collections/desk/label?field=none")
    page.keyboard.press("s")
    page.wait_for_url("**show=next**")
    page.wait_for_selector("main:not([aria-busy]) .labelling")
    with site.connect() as client:
        suggested = client.suggest_items("desk", head="desk", n=120, label="none")
    assert ids_on(page) == [one.id for one in suggested]
    assert set(ids_on(page)).isdisjoint(f"{kind}/{n}.jpg" for kind in ("rose", "tulip") for n in range(3))
    first = suggested[0]
    name = page.locator(f"[data-id='{first.id}'] .name")
    assert name.inner_text() == f"{first.label}? {100 * first.probability:.0f} %"
    page.keyboard.press("y")
    wait_until_stored(page)
    assert name.inner_text() == first.label
    assert said(site, first.id) == [f"+{first.label}"]
    page.keyboard.press("s")
    wait_until(page, f"!document.querySelector(\"[data-id='{first.id}']\")")
