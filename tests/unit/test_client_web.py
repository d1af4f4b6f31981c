"""Pictures by their URL: what is fetched, from where, how much and for how long. All servers are on loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import fc7
from fc7 import download, images
from fc7._operations import new_items
from fc7._running import RunningOperation
from fc7.download import download as fetch
from fc7.download import is_url
from fc7.images import path_of, read_image
from site_of_pictures import PICTURE, Site, running


@pytest.fixture
def site() -> Iterator[Site]:
    with running() as site:
        yield site


def test_which_text_is_a_url() -> None:
    assert is_url("http://a/b.jpg")
    assert is_url("HTTPS://a/b.jpg")
    for other in ("ftp://a/b.jpg", "file:///etc/passwd", "a.jpg", Path("http://a/b.jpg"), b"http://a", "httpx://a"):
        assert not is_url(other)
    assert path_of("https://a/b.jpg") is None
    assert path_of(Path("https://a/b.jpg")) is not None


def test_a_url_is_an_image(site: Site) -> None:
    assert read_image(f"{site.url}/picture.jpg?size=2").data == PICTURE
    assert site.asked == ["/picture.jpg?size=2"]
    assert fetch(f"{site.url}/unsized", 10**6) == PICTURE
    assert fetch(f"{site.url}/to/{site.url}/picture.jpg", 10**6) == PICTURE


@pytest.mark.parametrize("name", ["picture.jpg", "unsized"])
def test_what_is_too_large_is_refused(site: Site, name: str) -> None:
    assert fetch(f"{site.url}/{name}", len(PICTURE)) == PICTURE
    with pytest.raises(fc7.InvalidArgument, match=f"more than {len(PICTURE) - 1} bytes"):
        fetch(f"{site.url}/{name}", len(PICTURE) - 1)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a.jpg", "data:image/png;base64,AAAA"])
def test_a_redirect_elsewhere_is_refused(site: Site, target: str) -> None:
    with pytest.raises(fc7.FailedPrecondition, match=r"only http:// and https:// are followed|is not allowed"):
        fetch(f"{site.url}/to/{target}", 10**6)


def test_redirects_without_end_are_refused(site: Site) -> None:
    with pytest.raises(fc7.FailedPrecondition, match="302"):
        fetch(f"{site.url}/loop", 10**6)
    assert len(site.asked) <= 12


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/gone.jpg", fc7.NotFound),
        ("/status/403", fc7.FailedPrecondition),
        ("/status/500", fc7.FailedPrecondition),
    ],
)
def test_what_the_server_refuses_is_said(site: Site, path: str, kind: type[fc7.Fc7Error]) -> None:
    with pytest.raises(kind, match=path):
        fetch(site.url + path, 10**6)


def test_a_server_that_is_slow_or_away_is_an_error_of_its_own(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_LIMIT_S", 0.3)
    with pytest.raises(fc7.DeadlineExceeded, match=r"not complete within 0\.3 seconds"):
        fetch(f"{site.url}/slow", 10**6)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(fc7.DeadlineExceeded):
        fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/a.jpg", 10**6)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setattr(download, "_LIMIT_S", 20)
    with pytest.raises(fc7.Unavailable, match="cannot be reached"):
        fetch(f"http://127.0.0.1:{port}/a.jpg", 10**6)


def test_pictures_are_fetched_within_the_time_of_the_call(site: Site) -> None:
    call: RunningOperation[None] = RunningOperation(iter(()), 0.3)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(fc7.DeadlineExceeded, match="not complete within 0"):
            call.run_blocking(lambda: fetch(f"{site.url}/slow", 10**6))
    assert site.asked == ["/slow"]  # the second time nothing is left
    assert download.call_ends.get() is None


def test_a_picture_that_breaks_off_is_not_taken(site: Site) -> None:
    with pytest.raises(fc7.Unavailable, match=f"broke off after {len(PICTURE) - 10} of {len(PICTURE)} bytes"):
        fetch(f"{site.url}/cut", 10**6)


@pytest.mark.parametrize("url", ["http://127.0.0.1:port/a", "http://127.0.0.1/a\0b", "http://[::1/a", "http://a b/c"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(fc7.InvalidArgument, match="not a URL"):
        fetch(url, 10**6)


def test_a_url_without_a_host_is_refused() -> None:
    with pytest.raises(fc7.Fc7Error):
        fetch("http://", 10**6)


def test_a_proxy_is_used_except_for_this_machine(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        assert fetch(f"{site.url}/picture.jpg", 10**6) == PICTURE
        assert proxy.asked == []
        with pytest.raises(fc7.NotFound):
            fetch("http://pictures.invalid/a.jpg", 10**6)
        assert proxy.asked == ["http://pictures.invalid/a.jpg"]


def test_each_redirect_decides_on_the_proxy_for_itself(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(fc7.NotFound):
            fetch(f"{site.url}/to/http://pictures.invalid/a.jpg", 10**6)
        assert proxy.asked == ["http://pictures.invalid/a.jpg"]


@pytest.mark.parametrize("user", ["ann:secret@", "secret@", "ann:s@cret:secret@"])
def test_a_password_in_a_url_is_refused_and_never_shown(site: Site, user: str) -> None:
    url = f"{site.url}/picture.jpg".replace("http://", f"http://{user}")
    (entry,) = images.read_entries([url])
    (item,) = new_items.from_images([url], None, None, None)
    assert isinstance(entry.error, fc7.InvalidArgument)
    assert site.asked == []
    with pytest.raises(fc7.FailedPrecondition, match="user name and password") as redirected:
        fetch(f"{site.url}/to/{url}", 10**6)
    for text in (entry.name, item.id, item.message.id, item.message.payload_json, str(item.error), entry.error.name):
        assert "secret" not in text
        assert "cret" not in text
    assert "secret" not in str(redirected.value).replace(f"/to/{url}", "")


def test_an_entry_is_named_by_its_url(site: Site) -> None:
    (entry,) = images.read_entries([f"{site.url}/gone.jpg"])
    assert isinstance(entry.error, fc7.NotFound)
    assert entry.name == f"{site.url}/gone.jpg"
