"""The folder in which the code blocks of a page run: the pictures that pages may name, and programs on its path.

holiday/beach/{a..f}.jpg   holiday/city/{a..f}.jpg    two classes; `holiday/` is what most pages add and train on
photos/rose/{a..f}.jpg     photos/tulip/{a..f}.jpg    another two
unseen/beach/{a,b,c}.jpg   unseen/city/{a,b,c}.jpg    pictures of the first two classes that no head has seen
dogs/{a..f}.jpg            more/{a,b}.jpg
query.jpg  new.jpg  a.jpg  b.jpg  query.png  logo.png  scan.tif
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import skimage.data
from PIL import Image

TEXTURES = Path(skimage.data.__file__).parent
# Class -> the picture that its pictures are cut from.
SOURCES = {
    "beach": "gravel.png",
    "city": "brick.png",
    "rose": "coffee.png",
    "tulip": "astronaut.png",
    "dogs": "chelsea.png",
}
FOLDERS = {
    "holiday/beach": ("beach", "abcdef"),
    "holiday/city": ("city", "abcdef"),
    "photos/rose": ("rose", "abcdef"),
    "photos/tulip": ("tulip", "abcdef"),
    "unseen/beach": ("beach", "xyz"),
    "unseen/city": ("city", "xyz"),
    "dogs": ("dogs", "abcdef"),
    "more": ("rose", "xy"),
}
FILES = {"query.jpg": "beach", "new.jpg": "tulip", "a.jpg": "dogs", "b.jpg": "dogs", "query.png": "beach"}
FILES |= {"logo.png": "city", "scan.tif": "rose"}
# Stands in for the program of that name: makes one call, with the message from standard input.
GRPCURL = """
import importlib, pkgutil, sys
import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
import fc7.v1
for module in pkgutil.iter_modules(fc7.v1.__path__):
    importlib.import_module(f"fc7.v1.{module.name}")
address, path = sys.argv[-2:]
service, _, name = path.rpartition("/")
method = descriptor_pool.Default().FindServiceByName(service).FindMethodByName(name)
request, response = map(message_factory.GetMessageClass, (method.input_type, method.output_type))
with grpc.insecure_channel(address) as channel:
    call = channel.unary_unary(f"/{path}", request.SerializeToString, response.FromString)
    print(json_format.MessageToJson(call(json_format.Parse(sys.stdin.read(), request()), timeout=60)))
"""


@functools.cache
def source(kind: str) -> Image.Image:
    with Image.open(TEXTURES / SOURCES[kind]) as image:
        return image.convert("RGB")


def picture(kind: str, seed: int) -> Image.Image:
    """Return a piece of the class's picture; another number gives another piece."""
    whole = source(kind)
    left, top = 37 * seed % (whole.width - 180), 53 * seed % (whole.height - 150)
    return whole.crop((left, top, left + 180, top + 150))


def make_world(folder: Path) -> None:
    """Fill a folder with the pictures and the programs."""
    for name, (kind, letters) in FOLDERS.items():
        (folder / name).mkdir(parents=True)
        for letter in letters:
            picture(kind, ord(letter)).save(folder / name / f"{letter}.jpg", quality=90)
    for seed, (name, kind) in enumerate(FILES.items()):
        picture(kind, seed).save(folder / name)
    source("beach").save(folder / "query.jpg", quality=100)  # larger than an argument of a command may be
    assert (folder / "query.jpg").stat().st_size > 128 * 1024
    programs = {"fc7": '-m fc7 "$@"', "python": '"$@"', "grpcurl": f'"{folder}/programs/grpcurl.py" "$@"'}
    (folder / "programs").mkdir()
    (folder / "programs" / "grpcurl.py").write_text(GRPCURL)
    for name, words in programs.items():
        file = folder / "programs" / name
        file.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}\n')
        file.chmod(0o755)
