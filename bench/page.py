"""Measure the page in Chromium, over collections with very many items: what users wait for.

    make bench-http

The server, Chromium and this script share the machine, and every time is given twice: by the clock, and in processor
time, which a busy machine changes less. The features are synthetic (`many_items.py`), the pictures are JPEG files of
128 pixels. Chromium draws without a GPU. The rows are:

- dropped: from dropping a picture until the scores of its neighbours are on the screen, with 10,000 items; "own" is the
  processor time of the page's main thread, "server" that of the server;
- label key: from pressing the key until the label is shown, and until it is stored;
- panning: with 100,000 points, draw calls and bytes that the page's modules allocate per frame, once V8 has compiled
  them, and the processor time of the main thread;
- weight: bytes and requests of the heaviest view before pictures, and the most requests of any view;
- start: from starting `fc7 ui` until the page answers, and the processor time of that process.
"""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from http_door import processor_s
from many_items import fill, write_pictures
from playwright.sync_api import sync_playwright
from serving import picture

MANY, VERY_MANY = 10_000, 100_000
N_DROPS, N_KEYS, N_STARTS = 7, 9, 5
WARM_UP, N_FRAMES = 1500, 200
VIEWS = ("/", "/server", *(f"/collections/many{view}" for view in ("", "/label", "/train", "/map")))
UNTIL = """
const until = (isThere) => new Promise((done) => {
    const look = () => { if (isThere()) { watch.disconnect(); requestAnimationFrame(() => setTimeout(done)); } };
    const watch = new MutationObserver(look);
    watch.observe(document.body, { subtree: true, childList: true, attributes: true });
    look();
});
"""
DROP = (
    "async (data) => {"
    + UNTIL
    + """
    const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], "query.jpg", { type: "image/jpeg" }));
    const results = document.querySelector(".results");
    const isThere = () => !results.hasAttribute("aria-busy") && results.querySelector(".score");
    const old = results.querySelector(".grid");
    const start = performance.now();
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
    await until(() => isThere() && results.querySelector(".grid") !== old);
    return performance.now() - start;
}"""
)
KEY = (
    "async (key) => {"
    + UNTIL
    + """
    const tile = document.activeElement.closest("li");
    const name = () => tile.querySelector(".name").textContent;
    const before = name();
    const start = performance.now();
    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    await until(() => name() !== before);
    const shown = performance.now() - start;
    await until(() => !tile.classList.contains("pending"));
    return [shown, performance.now() - start];
}"""
)
COUNT_DRAWS = """() => {
    window.draws = 0;
    const kind = WebGL2RenderingContext.prototype, draw = kind.drawArrays;
    kind.drawArrays = function (...parts) { draws += 1; return draw.apply(this, parts); };
    window.frames = 0;
    let last = 0;
    const count = (time) => { frames += time !== last; last = time; requestAnimationFrame(count); };
    requestAnimationFrame(count);
}"""


@contextmanager
def server(data: Path, pictures: Path) -> Iterator[tuple[str, int]]:
    """Run a server in a process of its own; yield its URL and the id of its process."""
    words = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--model", "alexnet-64", "--pictures", str(pictures)]
    command = [sys.executable, "-m", "fc7", "serve", "--data", str(data), *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.stdout.readline().split()[-1], process.pid
    finally:
        process.terminate()
        process.wait(60)


class Meter:
    """Tells how much processor time the main thread of a page takes, in milliseconds."""

    def __init__(self, page: Any) -> None:
        self.session = page.context.new_cdp_session(page)
        self.session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def ms(self) -> float:
        """Return the processor time of all tasks so far."""
        metrics = self.session.send("Performance.getMetrics")["metrics"]
        return 1000 * next(float(one["value"]) for one in metrics if one["name"] == "TaskDuration")


def measure_drops(page: Any, url: str, process: int) -> str:
    """Drop pictures that the page has not seen."""
    page.goto(f"{url}/collections/many")
    page.wait_for_selector(".results .grid li")
    meter, rows = Meter(page), []
    for seed in range(N_DROPS):
        data = base64.b64encode(picture(1000 + seed)).decode()
        page.wait_for_load_state("networkidle")
        own, of_server = meter.ms(), processor_s(process)
        clock = page.evaluate(DROP, data)
        rows.append((clock, meter.ms() - own, 1000 * (processor_s(process) - of_server)))
    clock, own, of_server = (statistics.median(column) for column in zip(*rows[2:], strict=True))
    return f"{clock:.0f} ms (own {own:.0f}, server {of_server:.0f} of a processor)"


def measure_keys(page: Any, url: str, process: int) -> str:
    """Label pictures, one after the other."""
    page.goto(f"{url}/collections/many/label")
    page.wait_for_selector(".grid li .open:focus")
    page.wait_for_load_state("networkidle")
    meter, rows = Meter(page), []
    for number in range(N_KEYS):
        own, of_server = meter.ms(), processor_s(process)
        page.locator(".grid li .open").nth(number).focus()
        label = page.locator(".grid li .name").nth(number).text_content()
        key = "2" if label == "class 0" else "1"
        shown, stored = page.evaluate(KEY, key)
        rows.append((shown, stored, meter.ms() - own, 1000 * (processor_s(process) - of_server)))
    shown, stored, own, of_server = (statistics.median(column) for column in zip(*rows[2:], strict=True))
    return f"shown {shown:.0f} ms, stored {stored:.0f} ms (own {own:.0f}, server {of_server:.0f} of a processor)"


def measure_panning(page: Any, url: str, process: int) -> str:
    """Open the map, and drag it with the mouse."""
    start, of_server = time.monotonic(), processor_s(process)
    page.goto(f"{url}/collections/very-many/map")
    page.wait_for_selector(f".map[data-drawn='{VERY_MANY}']", timeout=300_000)
    opened = (
        f"opened in {time.monotonic() - start:.1f} s (server {processor_s(process) - of_server:.1f} of a processor)"
    )
    sent = page.evaluate(
        "performance.getEntriesByType('resource').find((one) => one.name.endsWith('MapItems')).encodedBodySize"
    )
    page.evaluate(COUNT_DRAWS)
    box, meter = page.locator(".map").bounding_box(), Meter(page)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.keyboard.down("Shift")
    page.mouse.move(x, y)
    page.mouse.down()

    def pan(n_frames: int) -> None:
        for at in range(n_frames):
            page.mouse.move(x + at % 40 - 20, y + at * 7 % 30 - 15)

    pan(WARM_UP)
    collected = {"includeObjectsCollectedByMajorGC": True, "includeObjectsCollectedByMinorGC": True}
    meter.session.send("HeapProfiler.startSampling", {"samplingInterval": 1, **collected})
    pan(N_FRAMES)
    profile = meter.session.send("HeapProfiler.stopSampling")["profile"]
    own, drawn, frames = meter.ms(), page.evaluate("draws"), page.evaluate("frames")
    pan(N_FRAMES)
    own, drawn, frames = meter.ms() - own, page.evaluate("draws") - drawn, page.evaluate("frames") - frames
    page.mouse.up()
    page.keyboard.up("Shift")
    return (
        f"{drawn} draw calls in {frames} frames, {own_bytes(profile['head']) / N_FRAMES:.0f} bytes per frame, "
        f"{own / N_FRAMES:.2f} ms of a processor per movement; {sent / 1e6:.1f} MB, {opened}"
    )


def own_bytes(node: dict[str, Any]) -> int:
    """Return the bytes that the page's modules allocated, by a profile of the heap."""
    own = node["selfSize"] if "/page/" in node["callFrame"]["url"] else 0
    return own + sum(map(own_bytes, node["children"]))


def measure_weight(browser: Any, url: str) -> str:
    """Open every view in a browser that has seen none."""
    found = []
    for view in VIEWS:
        context = browser.new_context()
        page, answers = context.new_page(), []
        page.on("response", lambda answer, answers=answers: answers.append(answer))
        page.goto(url + view)
        page.wait_for_load_state("networkidle")
        files = [one for one in answers if "/pictures/" not in one.url and one.request.method == "GET"]
        found.append((sum(len(one.body()) for one in files), len(files)))
        context.close()
    return f"{max(size for size, _ in found) / 1000:.0f} kB, {max(n for _, n in found)} requests"


def measure_start(data: Path, pictures: Path) -> str:
    """Start `fc7 ui`, and ask for the page as soon as the address is there. The first start looks at all items."""
    rows = []
    for _ in range(N_STARTS):
        command = [sys.executable, "-m", "fc7", "ui", "--no-open", "--http", "127.0.0.1:0", "--data", str(data)]
        command += ["--pictures", str(pictures)]
        start = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            assert process.stdout is not None
            address, _, said = process.stdout.readline().strip().partition("/#")
            (token,) = parse_qs(said)["token"]
            asked = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})
            with urllib.request.urlopen(asked) as answer:  # of our own process
                answer.read()
            rows.append((time.monotonic() - start, processor_s(process.pid)))
        finally:
            process.terminate()
            process.wait(60)
    clock, own = (statistics.median(column) for column in zip(*rows[1:], strict=True))
    return f"{clock:.2f} s ({own:.2f} s of a processor)"


def main() -> None:
    """Print one row per measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="keep the collections here, and use them if they are there")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("Chromium is not installed. Debian has it: apt-get install chromium")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        data, pictures = folder / "data", folder / "pictures"
        if not data.exists():
            paths = write_pictures(pictures)
            fill(data, "many", MANY, paths)
            fill(data, "very-many", VERY_MANY, paths)
        print(f"load average {os.getloadavg()[0]:.1f}\n\n| measure | to reach | found |\n|---|---|---|", flush=True)

        def show(measure: str, goal: str, found: Callable[[], str]) -> None:
            print(f"| {measure} | {goal} | {found()} |", flush=True)

        show("`fc7 ui` until the page answers", "1.5 s", lambda: measure_start(data, pictures))
        with sync_playwright() as playwright, server(data, pictures) as (url, process):
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
            )
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(120_000)
            show("page weight", "150 kB, 12 requests", lambda: measure_weight(browser, url))
            show("a picture dropped", "300 ms, own 50 ms", lambda: measure_drops(page, url, process))
            show("a label key", "50 ms", lambda: measure_keys(page, url, process))
            show("panning", "one draw call per frame, 0 bytes", lambda: measure_panning(page, url, process))
            browser.close()


if __name__ == "__main__":
    main()
