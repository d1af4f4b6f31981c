"""Search in the browser: what the page shows is what the client finds, by mouse, by keyboard and by address."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

import fc7
from browsing import OpenPage, Site, drop, ids_on, wait_until


def found(site: Site, k: int = 48, **query: Any) -> list[str]:
    with site.connect() as client:
        return [hit.id for hit in client.collection("photos").search(k=k, **query)]


@pytest.mark.parametrize("way", ["drop", "paste", "choose"])
def test_neighbours_of_a_picture_are_those_that_the_client_finds(open_page: OpenPage, site: Site, way: str) -> None:
    file = site.pictures / "rose" / "3.jpg"
    page = open_page("/collections/photos")
    if way == "choose":
        page.locator("input[type=file]").set_input_files(file)
    else:
        drop(page, way, file)
    page.wait_for_selector(".score")
    assert ids_on(page) == found(site, image=file)
    assert page.locator(".score").first.inner_text().startswith("1.000")
    page.reload()  # the picture itself is not in the address; this browser has kept it
    page.wait_for_selector(".score")
    assert ids_on(page) == found(site, image=file)


def test_click_on_a_picture_searches_with_it_and_the_address_opens_the_same(open_page: OpenPage, site: Site) -> None:
    page = open_page("/collections/photos")
    page.locator("[data-id='rose/2.jpg'] .open").click()
    page.wait_for_selector(".score")
    expected = found(site, id="rose/2.jpg")
    assert ids_on(page) == expected
    assert ids_on_at(open_page, page.url) == expected
    page.go_back()
    wait_until(page, "!document.querySelector('.score')")
    assert len(ids_on(page)) == 24


def ids_on_at(open_page: OpenPage, url: str) -> list[str]:
    page = open_page(url)
    page.wait_for_selector(".score")
    return ids_on(page)


def test_arrows_move_and_enter_searches(open_page: OpenPage, site: Site) -> None:
    page = open_page("/collections/photos")
    first, second = ids_on(page)[:2]
    assert page.locator(".grid .open[tabindex='0']").count() == 1
    page.locator(".grid .open[tabindex='0']").focus()
    page.keyboard.press("ArrowRight")
    assert focused_id(page) == second
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    assert focused_id(page) not in (first, second)
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_selector(".score")
    assert ids_on(page) == found(site, id=first)
    assert focused_id(page) is not None  # the focus stays in the grid


def focused_id(page: Any) -> str | None:
    answer: str | None = page.evaluate("document.activeElement.closest('.grid li')?.dataset.id")
    return answer


def test_filters_count_and_narrow(open_page: OpenPage) -> None:
    page = open_page("/collections/photos")
    box = page.get_by_role("checkbox", name="rose 8")
    box.check()
    wait_until(page, "document.querySelectorAll('.grid > li').length === 8")
    assert {one.split("/")[0] for one in ids_on(page)} == {"rose"}
    page.get_by_role("checkbox", name="tulip 8").check()  # the counts of a field leave out its own filter
    wait_until(page, "document.querySelectorAll('.grid > li').length === 16")
    assert len(ids_on_filtered(open_page, page.url)) == 16


def ids_on_filtered(open_page: OpenPage, url: str) -> list[str]:
    return ids_on(open_page(url))


def test_more_and_less_like_several_pictures(open_page: OpenPage, site: Site) -> None:
    def found_by(weight: float) -> list[str]:
        return found(site, examples=[fc7.Example(id="rose/1.jpg"), fc7.Example(id="tulip/0.jpg", weight=weight)])

    page = open_page(f"/collections/photos?like={quote('rose/1.jpg')}")
    page.wait_for_selector(".score")
    page.locator("[data-id='tulip/0.jpg'] .open").focus()
    page.keyboard.press("+")
    page.wait_for_selector(".picks li:nth-child(2)")
    wait_for_results(page)
    assert ids_on(page) == found_by(1)
    page.get_by_role("button", name="More like tulip/0.jpg; press to turn round").click()
    page.wait_for_selector(".picks .less")
    wait_for_results(page)
    assert ids_on(page) == found_by(-0.5)
    assert ids_on(page) != found_by(1)
    page.get_by_role("button", name="Leave out rose/1.jpg").click()
    page.locator(".results .problem", has_text="at least one picture").wait_for()


def wait_for_results(page: Any) -> None:
    wait_until(page, "!document.querySelector('[aria-busy]')")


def test_a_file_that_is_no_picture_says_so(open_page: OpenPage, site: Site, tmp_path: Any) -> None:
    page = open_page("/collections/photos")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    drop(page, "drop", broken)
    page.wait_for_selector(".results .problem")
    assert "not an image" in page.locator(".results .problem").inner_text()


def test_the_same_in_three_languages(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/collections/photos?like={quote('rose/1.jpg')}&where.label=rose")
    page.wait_for_selector(".score")
    page.locator(".snippets summary").click()
    code = page.locator(".snippets pre")
    assert 'photos.search(id="rose/1.jpg", k=48, where=' in code.inner_text()
    page.get_by_role("tab", name="Command line").click()
    assert code.inner_text() == """fc7 search photos --id rose/1.jpg -k 48 --where 'label in ("rose")'"""
    page.get_by_role("tab", name="curl").click()
    assert code.inner_text().startswith(f"curl {site.url}/fc7.v1.CollectionService/QueryItems")


def test_an_unknown_collection_says_so(open_page: OpenPage) -> None:
    page = open_page("/collections/none")
    page.wait_for_selector(".problem")
    assert "none" in page.locator(".problem").first.inner_text()
