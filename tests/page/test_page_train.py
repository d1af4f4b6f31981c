"""Train in the browser: a head over the labelled pictures, its report, its versions, and a place to try it."""

from __future__ import annotations

import pytest

from browsing import OpenPage, Site, drop, wait_until


@pytest.fixture(scope="module")
def name() -> str:
    return "places"


def train(page: object, name: str) -> None:
    page.get_by_label("Head").fill(name)  # type: ignore[attr-defined]
    page.get_by_role("button", name="Train").click()  # type: ignore[attr-defined]


def test_train_publish_and_roll_back(open_page: OpenPage, site: Site, name: str) -> None:
    page = open_page("/collections/photos/train")
    train(page, name)
    page.get_by_role("button", name="Publish: version 1").click()
    page.get_by_text("published", exact=True).wait_for()
    with site.connect() as client:
        head = client.head(name)
        assert (head.version, head.published_version, head.count) == (1, 1, 24)
    assert "pictures that it had not seen" in page.locator(".figure").inner_text()
    train(page, name)
    page.get_by_role("button", name="Publish: version 2").click()
    page.get_by_role("button", name="Roll back to it: version 1").click()
    page.get_by_role("button", name="Publish: version 2").wait_for()
    with site.connect() as client:
        assert client.head(name).published_version == 1


def test_cells_of_the_confusion_matrix_open_their_pictures(open_page: OpenPage, site: Site, name: str) -> None:
    page = open_page(f"/collections/photos/train?head={name}")
    cells = page.locator(".confusion button")
    cells.first.wait_for()
    assert sum(int(cell.inner_text()) for cell in cells.all()) == 24
    number = int(cells.first.inner_text())
    cells.first.click()
    assert page.locator(".cell .grid li").count() == number
    assert page.locator(".cell a").first.get_attribute("href").startswith("/collections/photos?like=beach")


def test_try_it_classifies_as_the_client_does(open_page: OpenPage, site: Site, name: str) -> None:
    file = site.pictures / "tulip" / "5.jpg"
    page = open_page(f"/heads/{name}")
    page.locator(".drop").wait_for()
    drop(page, "drop", file)
    first = page.locator(".bars li").first
    first.wait_for()
    with site.connect() as client:
        answer = client.classify(file, head=name)[0]
    assert first.inner_text().split() == [answer.label, f"{100 * answer.probability:.1f}", "%"]


def test_one_class_is_refused_with_the_reason(open_page: OpenPage) -> None:
    page = open_page("/collections/photos/train?field=nothing&head=other")
    page.get_by_text("at least two classes").wait_for()
    page.get_by_role("button", name="Train").click()
    page.locator(".problem").wait_for()
    assert "nothing" in page.locator(".problem").inner_text()


def test_try_it_with_the_camera(open_page: OpenPage, name: str) -> None:
    page = open_page(f"/heads/{name}", permissions=["camera"])
    page.get_by_role("button", name="Camera").click()
    for n_answers in (1, 1):
        page.get_by_role("button", name="Take the picture").click()
        page.locator(".bars li").first.wait_for()
        assert page.locator(".answer canvas").count() == n_answers
    video = "document.querySelector('video')"
    page.evaluate(f"window.track = {video}.srcObject.getTracks()[0]")
    page.get_by_role("button", name="Stop").click()
    assert page.evaluate(f"[{video}, window.track.readyState]") == [None, "ended"]
    page.get_by_role("button", name="Camera").click()
    page.get_by_role("button", name="Take the picture").wait_for()
    page.evaluate(f"window.track = {video}.srcObject.getTracks()[0]")
    page.get_by_role("link", name="Server").click()
    wait_until(page, "window.track.readyState === 'ended'")


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("", "did not allow the camera"),
        (
            "void (navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotFoundError'); })",
            "no camera",
        ),
        ("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })", "over TLS"),
    ],
)
def test_a_camera_that_cannot_be_had(open_page: OpenPage, script: str, text: str) -> None:
    page = open_page("/collections/photos")
    page.evaluate(script)
    page.get_by_role("button", name="Camera").click()
    page.locator(".camera .problem", has_text=text).wait_for()
