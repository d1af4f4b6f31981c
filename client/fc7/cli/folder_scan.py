"""What is taken of a folder, and what is passed over: every picture that is not taken is counted with its reason."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from fc7.contract.formats import ADVICE, NOT_READ, READ, suffix_of

# Made by systems, not by people: thumbnails of Synology, leftovers of macOS archives, bins, recovered files.
_SYSTEM = {"@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
_SHOWN = 4  # suffixes of other files


class FolderScan:
    """Takes pictures from folders and counts what it passes over.

    Parameters
    ----------
    exclude
        Patterns as of the shell. One with "/" is compared with the whole path below the folder, in which ``*`` stands
        for any characters, also "/". One without is compared with each name on that path.
    """

    def __init__(self, exclude: Sequence[str] = ()) -> None:
        self.exclude = [pattern.rstrip("/") for pattern in exclude]
        self._others: Counter[str] = Counter()  # suffix -> files that are no pictures by their name
        self.counts: Counter[str] = Counter()  # reason -> pictures; of links and unreadable folders: folders
        self.folders: dict[Path, Counter[str]] = {}  # each folder one or two levels below -> the same, below it
        self.unreadable: list[tuple[Path, str]] = []  # folders, and why

    def files(self, folder: Path) -> Iterator[Path]:
        """Yield the pictures below a folder, relative to it. Linked folders come last, each real folder once.

        Raises
        ------
        OSError
            The folder itself cannot be read.
        """
        starts, seen = deque([folder]), set[tuple[int, int]]()
        while starts:
            start = starts.popleft()
            for name, folders, files in os.walk(start, onerror=lambda error: self._note_unreadable(error, folder)):
                parent = Path(name)
                below = parent.relative_to(folder)
                facts = parent.stat()
                if (facts.st_dev, facts.st_ino) in seen:
                    self._count("linked", below)
                    folders.clear()
                    continue
                seen.add((facts.st_dev, facts.st_ino))
                self._of(below)
                starts += [parent / one for one in self._taken(parent, below, folders) if (parent / one).is_symlink()]
                yield from (below / one for one in files if self._is_taken(below / one))

    def is_excluded(self, path: Path) -> bool:
        """Return whether a path below a folder matches a pattern."""
        return any(
            fnmatchcase(path.as_posix(), pattern)
            if "/" in pattern
            else any(fnmatchcase(part, pattern) for part in path.parts)
            for pattern in self.exclude
        )

    def pass_over(self, reason: str, n_pictures: int) -> None:
        """Count pictures that are not used; ``reason`` may be the folder that they are in."""
        self.counts[reason] += n_pictures

    def __str__(self) -> str:
        """Return the counts as one line; empty where nothing was passed over."""
        counts = self.to_dict()
        formats = [f"{n} {reason}" for reason, n in counts.items() if reason in NOT_READ.values()]
        parts = [f"{', '.join(formats)} (not read: {ADVICE})"] if formats else []
        parts += [self._text(reason, n) for reason, n in counts.items() if reason not in NOT_READ.values()]
        return f"passed over: {', '.join(parts)}" if parts else ""

    def to_dict(self) -> dict[str, int]:
        """Return the counts by reason, such as "HEIC", "hidden", "excluded", "@eaDir", "other"."""
        return {reason: n for reason, n in _ranked(self.counts) if n}

    def _text(self, reason: str, n: int) -> str:
        plural = "" if n == 1 else "s"
        match reason:
            case "hidden" | "excluded":
                return f"{n} {reason}"
            case "linked":
                return f"{n} linked folder{plural} (searched already)"
            case "unreadable":
                return f"{n} unreadable folder{plural}"
            case "other":
                suffixes = [suffix or "no suffix" for suffix, _ in _ranked(self._others)[:_SHOWN]]
                more = ", ..." if len(self._others) > _SHOWN else ""
                return f"{n} other file{plural} ({', '.join(suffixes)}{more})"
        return f"{n} in {reason}"

    def _taken(self, parent: Path, below: Path, folders: list[str]) -> list[str]:
        """Leave in ``folders`` those to be searched, sorted; count the pictures in the others."""
        kept = []
        for name in sorted(folders):
            reason = self._reason(below / name) or (name if name in _SYSTEM else "")
            if reason:
                self._count(reason, below, _n_pictures(parent / name))
            else:
                kept.append(name)
        folders[:] = kept
        return kept

    def _is_taken(self, file: Path) -> bool:
        suffix = suffix_of(file.name)
        if suffix not in READ and suffix not in NOT_READ:
            if not file.name.startswith("."):
                self._others[suffix] += 1
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
        for counter in (self.counts, *self._of(folder)):
            counter[reason] += n

    def _of(self, folder: Path) -> list[Counter[str]]:
        """Return the counters of the first two levels of a folder's path."""
        levels = [Path(*folder.parts[:depth]) for depth in (1, 2) if depth <= len(folder.parts)]
        return [self.folders.setdefault(level, Counter()) for level in levels]


def _ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))  # the order of a folder's entries is no order


def _n_pictures(folder: Path) -> int:
    return sum(suffix_of(name) in READ for _, _, files in os.walk(folder) for name in files)
