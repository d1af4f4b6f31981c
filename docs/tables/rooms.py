"""The rooms of the code, as a drawing and as a table: from the table that the import test holds the code to."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from functools import cache
from html import escape
from pathlib import Path
from typing import NamedTuple

from tables.markdown import code
from tables.markdown import table as make_table

ROOT = Path(__file__).parents[2]


class Room(NamedTuple):
    """A room of the drawing."""

    modules: str  # module names, separated by spaces; a package is its folder
    holds: str


# Each package has a frame. Rooms of one floor stand in this order, from left to right.
FRAMES = {
    "client": {
        "cli": Room("fc7.cli fc7.__main__", "the command"),
        "demo": Room("fc7.demo", "the demonstration"),
        "drawing": Room("fc7.drawing", "pictures of results"),
        "assistants": Room("fc7.assistants", "tools for assistants"),
        "sklearn": Room("fc7.sklearn", "for scikit-learn"),
        "ray": Room("fc7.ray", "bulk extraction"),
        "client": Room("fc7 fc7.results", "Client, AsyncClient"),
    },
    "service": {
        "server": Room("fc7_service", "connects the rooms"),
        "http": Room("fc7_service.http", "calls over HTTP"),
        "rpc": Room("fc7_service.rpc", "messages and calls"),
        "settings": Room("fc7_service.settings fc7_service.tokens", "settings, tokens"),
        "telemetry": Room("fc7_service.telemetry", "metrics for operators"),
        "collections": Room("fc7_service.collections", "similarity search"),
        "heads": Room("fc7_service.heads", "classifiers"),
        "explain": Room("fc7_service.explain", "explanations"),
        "features": Room("fc7_service.features", "pictures to features"),
        "scheduling": Room("fc7_service.scheduling", "who is served next"),
        "served": Room("fc7_service.served", "which networks there are"),
        "bundle": Room("fc7_service.bundle", "the files of a network"),
    },
    "models": {
        "zoo": Room("fc7_models.zoo", "published networks"),
        "studies": Room("fc7_models.studies", "evaluation"),
        "export": Room("fc7_models.export", "bundles from networks"),
        "training": Room("fc7_models.training", "training runs"),
        "networks": Room("fc7_models.networks", "architectures"),
        "data": Room("fc7_models.data", "folders of pictures"),
        "deconv": Room("fc7_models.deconv", "the deconvnet"),
    },
}
GROUND = {"contract": Room("fc7.v1 fc7.contract fc7.errors", "messages, their stubs, errors")}
ROOMS = {name: room for frame in [*FRAMES.values(), GROUND] for name, room in frame.items()}

BOX_WIDTH, BOX_HEIGHT, GAP, FLOOR, MARGIN = 138, 48, 12, 84, 16  # pixels
Place = tuple[float, float]  # of the left upper corner


def table() -> str:
    """Return a row for each room: its modules, what it holds, and what it may import."""
    rows = []
    for name, room in ROOMS.items():
        targets = [{b for (a, b), inside in arrows().items() if a == name and inside is kind} for kind in (False, True)]
        rows.append((name, ", ".join(map(code, room.modules.split())), room.holds, *map(_names, targets)))
    return make_table(("Room", "Where", "What it holds", "May import", "Only inside functions"), rows)


def drawing() -> str:
    """Return the rooms as an SVG. What imports stands above what it imports; each frame is one package."""
    client, service, models = (_Frame(package, rooms) for package, rooms in FRAMES.items())
    service.left = client.left + client.width + GAP
    models.left = service.left + service.width - models.width
    models.base = service.base + len(service.rows)  # it stands on the service, of which it imports two rooms
    width = service.left + service.width + MARGIN
    bottom = MARGIN + FLOOR * (models.base + len(models.rows) - 1) + BOX_HEIGHT + 24
    frames = (client, service, models)
    places = {name: place for frame in frames for name, place in frame.places(bottom).items()}
    places["contract"] = ((width - BOX_WIDTH * 2) / 2, bottom - BOX_HEIGHT)
    shapes = [line for frame in frames for line in frame.shape(bottom)]
    shapes += [line for arrow in _shown_arrows() for line in _arrow(*arrow, places)]
    shapes += [line for name, place in places.items() for line in _box(name, place)]
    return "\n".join([*_head(width, bottom + MARGIN), *shapes, "</svg>", ""])


class _Frame:
    """A package with its rooms on floors."""

    def __init__(self, package: str, rooms: dict[str, Room]) -> None:
        floors = {name: _floor(name) for name in rooms}
        for name in floors:  # directly below what imports it
            floors[name] = min((floors[a] - 1 for a, b in arrows() if b == name and a in rooms), default=floors[name])
        self.package = package
        self.rows = [[name for name in rooms if floors[name] == floor] for floor in sorted(set(floors.values()))]
        self.left: float = MARGIN
        self.base = 1  # its lowest floor; the contract lies on floor 0
        self.width = max(map(len, self.rows)) * (BOX_WIDTH + GAP) + GAP

    def places(self, bottom: float) -> dict[str, Place]:
        """Return the left upper corner of each room."""
        return {
            name: (
                self.left + (self.width - len(row) * (BOX_WIDTH + GAP) + GAP) / 2 + i * (BOX_WIDTH + GAP),
                bottom - FLOOR * (self.base + floor) - BOX_HEIGHT,
            )
            for floor, row in enumerate(self.rows)
            for i, name in enumerate(row)
        }

    def shape(self, bottom: float) -> list[str]:
        """Return the frame and its title."""
        height = FLOOR * (len(self.rows) - 1) + BOX_HEIGHT + 24 + GAP
        top = bottom - FLOOR * self.base + GAP - height
        return [
            f'<rect x="{self.left:g}" y="{top:g}" width="{self.width:g}" height="{height:g}" rx="8" fill="#f6f8fa"'
            ' stroke="#d0d7de"/>',
            f'<text x="{self.left + GAP:g}" y="{top + 18:g}" text-anchor="start" fill="#57606a" font-weight="bold">'
            f"{self.package}</text>",
        ]


def _names(rooms: set[str]) -> str:
    """Return the rooms as words; a whole package is one word."""
    whole = [package for package, frame in FRAMES.items() if frame.keys() <= rooms]
    single = sorted(rooms - {name for package in whole for name in FRAMES[package]})
    return ", ".join([*single, *(f"all of {package}" for package in whole)])


@cache
def arrows() -> dict[tuple[str, str], bool]:
    """Return which room may import which, and whether inside functions alone."""
    found: dict[tuple[str, str], bool] = {}
    for module, rule in runpy.run_path(str(ROOT / "tests/unit/test_imports.py"))["ROOMS"].items():
        if not (room := _room_of(module)):
            continue  # an `__init__` outside the rooms
        for names, is_inside in ((rule.anywhere, False), (rule.in_functions, True)):
            for target in _targets(names, rule.never):
                if target != room:
                    found[room, target] = is_inside and found.get((room, target), True)
    return found


def _room_of(module: str) -> str:
    """Return the room in which a module lies: the one with the longest name that fits."""
    fitting = {
        prefix: name for name, room in ROOMS.items() for prefix in room.modules.split() if _lies_in(module, prefix)
    }
    return fitting[max(fitting, key=len)] if fitting else ""


def _lies_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _targets(names: str, never: str) -> Iterator[str]:
    """Yield the rooms that a rule allows: those that it names a part of, and those inside of what it names."""
    for allowed in names.split():
        if allowed.rpartition(".")[2].isupper():
            continue  # a constant of a package, not a module
        if room := _room_of(allowed):
            yield room
        for name, one in ROOMS.items():
            modules = one.modules.split()
            is_forbidden = any(_lies_in(module, other) for module in modules for other in never.split())
            if not is_forbidden and any(_lies_in(module, allowed) for module in modules):
                yield name


@cache
def _floor(name: str) -> int:
    below = [_floor(b) for (a, b), inside in arrows().items() if a == name and not inside]
    return 1 + max(below) if below else 0


def _shown_arrows() -> Iterator[tuple[str, str]]:
    """Yield the arrows that no chain of other arrows implies."""
    solid = {arrow for arrow, inside in arrows().items() if not inside}
    for a, b in sorted(solid):
        if not any((a, c) in solid and (c, b) in _closure() for c in ROOMS):
            yield a, b


@cache
def _closure() -> set[tuple[str, str]]:
    pairs = {arrow for arrow, inside in arrows().items() if not inside}
    while more := {(a, d) for a, b in pairs for c, d in pairs if b == c} - pairs:
        pairs |= more
    return pairs


def _head(width: float, height: float) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
        ' font-family="Helvetica, Arial, sans-serif" font-size="13" text-anchor="middle">',
        "<title>The rooms of the code: a room may import what its arrows lead to</title>",
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0 L10 5 L0 10 z" fill="#57606a"/></marker></defs>',
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>',
    ]


def _box(name: str, place: Place) -> list[str]:
    left, top = place
    width = BOX_WIDTH * (2 if name == "contract" else 1)
    middle, holds = left + width / 2, escape(ROOMS[name].holds)
    return [
        f'<rect x="{left:g}" y="{top:g}" width="{width}" height="{BOX_HEIGHT}" rx="6" fill="#ffffff"'
        ' stroke="#57606a"/>',
        f'<text x="{middle:g}" y="{top + 21:g}" font-weight="bold" fill="#1f2328">{name}</text>',
        f'<text x="{middle:g}" y="{top + 39:g}" font-size="11" fill="#57606a">{holds}</text>',
    ]


def _arrow(above: str, below: str, places: dict[str, Place]) -> list[str]:
    (x1, y1), (x2, y2) = places[above], places[below]
    x1, y1 = x1 + BOX_WIDTH / 2, y1 + BOX_HEIGHT
    x2 = min(max(x1, x2 + 20), x2 + BOX_WIDTH * 2 - 20) if below == "contract" else x2 + BOX_WIDTH / 2
    return [f'<path d="M{x1:g} {y1:g} L{x2:g} {y2:g}" fill="none" stroke="#57606a" marker-end="url(#tip)"/>']
