"""Search folders for pictures, and count each picture that is passed over with the reason."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from fc7.cli.output import counted
from fc7.contract.formats import ADVICE, NOT_READ, READ, suffix_of

# Folders that systems make: Synology thumbnails, leftovers of macOS archives, recycle bins, recovered files.
_SYSTEM_FOLDERS = {"@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
_SHOWN_SUFFIXES = 4  # of files that are no pictures


class FolderScan:
    """Searches folders for pictures and counts what it passes over.

    Parameters
    ----------
    exclude
        Shell patterns of what to pass over. A pattern with "/" is compared with the whole path below the folder, and
        its ``*`` matches "/" too. A pattern without "/" is compared with each folder and file name on that path.

    Attributes
    ----------
    counts
        Reason -> number of pictures passed over. For "linked" and "unreadable" it counts folders.
    counts_below
        The same for each folder one or two levels below the folder that was searched.
    unreadable
        Folders that could not be read, each with the reason.
    """

    def __init__(self, exclude: Sequence[str] = ()) -> None:
        self.exclude = [pattern.rstrip("/") for pattern in exclude]
        self.counts: Counter[str] = Counter()
        self.counts_below: dict[Path, Counter[str]] = {}
        self.unreadable: list[tuple[Path, str]] = []
        self._other_suffixes: Counter[str] = Counter()  # suffix -> files that are no pictures by their name

    def files(self, folder: Path) -> Iterator[Path]:
        """Yield the pictures below a folder, as paths relative to it.

        Linked folders are searched last, and each real folder only once.

        Raises
        ------
        OSError
            The folder itself cannot be read.
        """
        to_walk, searched = deque([folder]), set[tuple[int, int]]()
        while to_walk:
            start = to_walk.popleft()
            for name, folders, files in os.walk(start, onerror=lambda error: self._note_unreadable(error, folder)):
                parent = Path(name)
                below = parent.relative_to(folder)
                status = parent.stat()
                if (status.st_dev, status.st_ino) in searched:
                    self._count("linked", below)
                    folders.clear()
                    continue
                searched.add((status.st_dev, status.st_ino))
                self._counters_of(below)
                folders[:] = self._folders_to_search(parent, below, folders)
                to_walk += [parent / child for child in folders if (parent / child).is_symlink()]
                yield from (below / file for file in files if self._is_taken(below / file))

    def is_excluded(self, path: Path) -> bool:
        """Return whether a path below the folder matches a pattern to exclude."""
        return any(
            fnmatchcase(path.as_posix(), pattern)
            if "/" in pattern
            else any(fnmatchcase(part, pattern) for part in path.parts)
            for pattern in self.exclude
        )

    def pass_over(self, reason: str, n_pictures: int) -> None:
        """Count pictures that the command does not use; ``reason`` may be the folder that holds them."""
        self.counts[reason] += n_pictures

    def __str__(self) -> str:
        """Return the counts as one line; empty if nothing was passed over."""
        counts = self.to_dict()
        formats = [f"{n} {reason}" for reason, n in counts.items() if reason in NOT_READ.values()]
        parts = [f"{', '.join(formats)} (not read: {ADVICE})"] if formats else []
        parts += [self._text(reason, n) for reason, n in counts.items() if reason not in NOT_READ.values()]
        return f"passed over: {', '.join(parts)}" if parts else ""

    def to_dict(self) -> dict[str, int]:
        """Return the counts by reason, most first: "HEIC", "hidden", "excluded", "@eaDir", "other", ..."""
        return {reason: n for reason, n in _ranked(self.counts) if n}

    def _text(self, reason: str, n: int) -> str:
        match reason:
            case "hidden" | "excluded":
                return f"{n} {reason}"
            case "linked":
                return f"{counted(n, 'linked folder')} (searched already)"
            case "unreadable":
                return counted(n, "unreadable folder")
            case "other":
                suffixes = [suffix or "no suffix" for suffix, _ in _ranked(self._other_suffixes)[:_SHOWN_SUFFIXES]]
                more = ", ..." if len(self._other_suffixes) > _SHOWN_SUFFIXES else ""
                return f"{counted(n, 'other file')} ({', '.join(suffixes)}{more})"
        return f"{n} in {reason}"

    def _folders_to_search(self, parent: Path, below: Path, folders: list[str]) -> list[str]:
        """Return the folders to search, sorted; count the pictures in the others."""
        kept = []
        for name in sorted(folders):
            reason = self._reason(below / name) or (name if name in _SYSTEM_FOLDERS else "")
            if reason:
                self._count(reason, below, _n_pictures(parent / name))
            else:
                kept.append(name)
        return kept

    def _is_taken(self, file: Path) -> bool:
        suffix = suffix_of(file.name)
        if suffix not in READ and suffix not in NOT_READ:
            if not file.name.startswith("."):
                self._other_suffixes[suffix] += 1
                self._count("other", file.parent)
            return False
        reason = self._reason(file) or NOT_READ.get(suffix, "")
        if reason:
            self._count(reason, file.parent)
        return not reason

    def _reason(self, path: Path) -> str:
        return "hidden" if path.name.startswith(".") else "excluded" if self.is_excluded(path) else ""

    def _note_unreadable(self, error: OSError, folder: Path) -> None:
        path = Path(error.filename)
        if path == folder:
            raise error
        self.unreadable.append((path, str(error.strerror)))
        self._count("unreadable", path.relative_to(folder))

    def _count(self, reason: str, folder: Path, n: int = 1) -> None:
        for counter in (self.counts, *self._counters_of(folder)):
            counter[reason] += n

    def _counters_of(self, folder: Path) -> list[Counter[str]]:
        """Return the counters of the folder's ancestors one and two levels below the searched folder."""
        levels = [Path(*folder.parts[:depth]) for depth in (1, 2) if depth <= len(folder.parts)]
        return [self.counts_below.setdefault(level, Counter()) for level in levels]


def _ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(
        counts.items(), key=lambda pair: (-pair[1], pair[0])
    )  # by reason too: folders list entries in no order


def _n_pictures(folder: Path) -> int:
    return sum(suffix_of(name) in READ for _, _, files in os.walk(folder) for name in files)
