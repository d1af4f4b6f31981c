"""Photographs the page for the docs: `python docs/screenshots.py FOLDER`, a folder with one sub-folder per class."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import sync_playwright

import fc7

IMAGES = Path(__file__).parent / "images"
WIDTH, HEIGHT = 1280, 800
MOST_BYTES = 300_000
PER_CLASS = 40


def main(folder: Path) -> None:
    """Write docs/images/page-*.jpg."""
    with tempfile.TemporaryDirectory() as scratch, serving(Path(scratch) / "data", folder) as (url, address):
        with fc7.connect(address) as client:
            add(client, folder)
            head = client.train_head("clothes", collection="wardrobe")
            client.publish_head("clothes", head.version)
            photos = client.collection("wardrobe")
            query = sorted(item.id for item in photos)[PER_CLASS + 3]
            near = photos.search(id=query, k=1)[0].id
        with sync_playwright() as playwright:
            chromium = shutil.which("chromium")
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            search = f"/collections/wardrobe?like={quote(query)}"
            for name, path, ready, scheme in (
                ("search", search, ".facet", "light"),
                ("why", f"{search}&item={quote(near)}", ".trust", "light"),
                ("label", "/collections/wardrobe/label", ".class", "dark"),
                ("map", "/collections/wardrobe/map", ".map[data-drawn]", "dark"),
                ("train", "/collections/wardrobe/train?head=clothes", ".confusion button", "light"),
            ):
                page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)
                page.goto(url + path)
                page.wait_for_selector(ready)
                page.wait_for_load_state("networkidle")
                write(page, IMAGES / f"page-{name}.jpg")
            browser.close()


@contextmanager
def serving(data: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Run a server; yield the address of its page and that of its calls."""
    command = [sys.executable, "-m", "fc7", "serve", "--data", str(data), "--model", "alexnet-64"]
    command += ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--pictures", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        address, url = (process.stdout.readline().split()[-1] for _ in range(2))
        yield url, address
        process.terminate()


def add(client: fc7.Client, folder: Path) -> None:
    """Add the first pictures of each class, labelled with it."""
    files = [file for one in sorted(folder.iterdir()) if one.is_dir() for file in sorted(one.glob("*.*"))[:PER_CLASS]]
    client.create_collection("wardrobe").add(
        files, root=folder, payloads=[{"path": str(file), "label": file.parent.name} for file in files]
    )


def write(page: Any, file: Path) -> None:
    """Write what the page shows as a JPEG that is small enough for the repository."""
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    for quality in (88, 80, 70, 60):
        image.save(file, quality=quality, optimize=True)
        if file.stat().st_size <= MOST_BYTES:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
