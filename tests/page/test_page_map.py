"""Map in the browser: every item is drawn, and a lasso or a group selects the pictures of the grid."""

from __future__ import annotations

from typing import Any

import numpy as np

from browsing import OpenPage, Site, ids_on, wait_until


def open_map(open_page: OpenPage, path: str = "/collections/photos/map") -> Any:
    page = open_page(path)
    page.wait_for_selector(".map[data-drawn='24']")
    return page


def drag(page: Any, corners: list[tuple[float, float]]) -> None:
    """Draw round a part of the map; corners are shares of its width and height."""
    box = page.locator(".map").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def test_a_lasso_selects_what_lies_in_it(open_page: OpenPage, site: Site) -> None:
    page = open_map(open_page)
    drag(page, [(0.5, 0.01), (0.99, 0.01), (0.99, 0.99), (0.5, 0.99)])  # the right half: x above the middle
    page.wait_for_selector(".grid li")
    with site.connect() as client:
        found = client.collection("photos").map()
    expected = [own for own, x in zip(found.ids, found.positions[:, 0], strict=True) if x > 0]
    assert 0 < len(expected) < 24
    assert sorted(ids_on(page)) == sorted(expected)
    again = open_map(open_page, page.url)  # the lasso is in the address
    again.wait_for_selector(".grid li")
    assert ids_on(again) == ids_on(page)
    page.get_by_role("button", name="Show all").click()
    wait_until(page, "!document.querySelector('.grid li')")


def test_a_group_selects_its_pictures_by_keyboard(open_page: OpenPage) -> None:
    page = open_map(open_page)
    page.get_by_role("button", name="tulip 8").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".grid li")
    assert {one.split("/")[0] for one in ids_on(page)} == {"tulip"}
    assert page.get_by_role("button", name="rose 0").is_visible()  # the counts follow the selection
    assert page.url.endswith("group=tulip")


def test_hovering_shows_the_picture(open_page: OpenPage, site: Site) -> None:
    page = open_map(open_page)
    with site.connect() as client:
        found = client.collection("photos").map()
    box = page.locator(".map").bounding_box()
    side = min(box["width"], box["height"])
    x, y = found.positions[0] / np.abs(found.positions).max() * 0.92 * side / 2
    page.mouse.move(float(box["x"] + box["width"] / 2 + x), float(box["y"] + box["height"] / 2 - y))
    assert page.locator(".seen img").get_attribute("src").startswith("/pictures/photos?id=")


def test_the_map_moves_by_keyboard(open_page: OpenPage) -> None:
    page = open_map(open_page)
    before = page.locator(".map").screenshot()
    page.locator(".map").focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    assert page.locator(".map").screenshot() != before


def test_t_sne_is_chosen_and_stays_in_the_address(open_page: OpenPage) -> None:
    page = open_map(open_page)
    page.get_by_label("Placed by").select_option("tsne")
    page.get_by_text("Near on the map is near.").wait_for()
    page.wait_for_selector(".map[data-drawn='24']")
    page.get_by_role("button", name="tulip 8").click()
    page.wait_for_selector(".grid li")
    assert "method=tsne" in page.url
    again = open_map(open_page, page.url)
    again.get_by_text("Near on the map is near.").wait_for()
    again.wait_for_selector(".grid li")
    assert {one.split("/")[0] for one in ids_on(again)} == {"tulip"}


COUNTING = """() => {
    const kind = WebGL2RenderingContext.prototype;
    window.drawn = [];
    window.sent = 0;
    const draw = kind.drawArrays, send = kind.bufferData;
    kind.drawArrays = function (...parts) {
        drawn.push([document.timeline.currentTime, parts[2]]);
        return draw.apply(this, parts);
    };
    kind.bufferData = function (...parts) { sent += 1; return send.apply(this, parts); };
}"""
MOVES, MOST_BYTES = 60, 128  # per move: numbers that V8 boxes until it has compiled the functions


def own_bytes(node: dict[str, Any]) -> int:
    """Bytes that the page's modules allocated, by a profile of the heap."""
    own = node["selfSize"] if "/page/" in node["callFrame"]["url"] else 0
    return own + sum(own_bytes(child) for child in node["children"])


def test_panning_draws_once_per_frame_sends_nothing_and_makes_no_objects(open_page: OpenPage) -> None:
    page = open_map(open_page)
    page.evaluate(COUNTING)
    box = page.locator(".map").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.keyboard.down("Shift")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y + 40, steps=MOVES)
    heap = page.context.new_cdp_session(page)
    collected = {"includeObjectsCollectedByMajorGC": True, "includeObjectsCollectedByMinorGC": True}
    heap.send("HeapProfiler.startSampling", {"samplingInterval": 1, **collected})
    page.mouse.move(x - 40, y - 40, steps=MOVES)
    profile = heap.send("HeapProfiler.stopSampling")["profile"]
    page.mouse.up()
    drawn = page.evaluate("drawn")
    assert len(drawn) > MOVES  # the two drags moved the map
    assert len({time for time, _ in drawn}) == len(drawn), "two draw calls in one frame"
    assert {n_points for _, n_points in drawn} == {24}
    assert page.evaluate("sent") == 0  # the geometry is on the GPU already
    assert own_bytes(profile["head"]) <= MOVES * MOST_BYTES
