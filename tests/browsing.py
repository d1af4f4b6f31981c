"""A server with its page and a few pictures, and what users do to the page."""

from __future__ import annotations

import base64
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fc7
from servers import WAIT_S, clean_environment, serve_command

N_EACH = 8
OpenPage = Callable[..., Any]


@dataclass(frozen=True)
class Site:
    """A server under test: its page, its calls, and the folder with its pictures."""

    url: str
    address: str
    pictures: Path

    def connect(self) -> fc7.Client:
        return fc7.connect(self.address)


@contextmanager
def serving_page(data: Path, pictures: Path, *, http: str = "127.0.0.1:0") -> Iterator[Site]:
    """Run a server with its page until the block ends."""
    command = [*serve_command(data), "--model", "alexnet-64", "--http", http, "--pictures", str(pictures)]
    with (data.parent / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=clean_environment())
        assert process.stdout is not None
        try:
            address, url = (process.stdout.readline().split()[-1] for _ in range(2))
            yield Site(url, address, pictures)
        finally:
            process.terminate()
            process.wait(WAIT_S)
            process.stdout.close()


def add_pictures(client: fc7.Client, name: str, folder: Path) -> None:
    """Make a collection of all pictures, whose folder is their label."""
    collection = client.create_collection(name)
    files = sorted(folder.rglob("*.jpg"))
    ids = [file.relative_to(folder).as_posix() for file in files]
    payloads = [{"path": str(file), "label": file.parent.name, "number": int(file.stem)} for file in files]
    added = collection.add(files, ids=ids, payloads=payloads)
    assert all(one.status == "added" for one in added)


def is_problem(message: Any) -> bool:
    return message.type == "error" and "Failed to load resource" not in message.text  # tests ask for what is not there


def drop(page: Any, kind: str, file: Path) -> None:
    """Drop or paste a file on the page."""
    data = base64.b64encode(file.read_bytes()).decode()
    page.evaluate(
        """([kind, data, name]) => {
            const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
            const event = kind === "paste"
                ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
                : new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
            document.body.dispatchEvent(event);
        }""",
        [kind, data, file.name],
    )


def ids_on(page: Any) -> list[str]:
    """Return the ids of the tiles, in order."""
    return [tile.get_attribute("data-id") for tile in page.locator(".results .grid > li").all()]


def wait_until(page: Any, expression: str) -> None:
    """Wait until JavaScript is true. (Playwright's own way needs `eval`, which the page's content policy forbids.)"""
    end = time.monotonic() + WAIT_S
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"still not true: {expression}"
        page.wait_for_timeout(20)
