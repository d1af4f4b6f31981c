"""The methods of a collection that hold what people say about its items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from fc7._collection.part import CollectionPart
from fc7._operations import label_files
from fc7._operations import labels as label_records
from fc7.errors import Fc7Error
from fc7.results import Label, LabelFormat, Labelled, LabelsWritten


class LabelCalls(CollectionPart):
    """Records labels, returns them and takes them back."""

    def add_labels(
        self,
        labels: Iterable[Label],
        *,
        timeout_s: float | None = None,
        report: Callable[[Labelled], object] | None = None,
    ) -> list[Labelled]:
        """Record what somebody says about items.

        Parameters
        ----------
        labels
            The labels. A label is not recorded again if its author's newest record about this item and label says the
            same.
        report
            Called for each label as soon as the server has answered. What is reported is on disk.

        Returns
        -------
        list of Labelled
            One result per label, in input order. An id that is not stored has a `NotFound` error.

        Examples
        --------
        >>> labels = [fc7.Label("a.jpg", "cat", by="ann"), fc7.Label("a.jpg", "dog", "negative", by="ann")]
        >>> [one.status for one in photos.add_labels(labels)]
        ['labelled', 'labelled']
        """
        return self._session.run(label_records.add(self.name, labels, report), timeout_s)

    def labels(
        self,
        ids: Iterable[str] | None = None,
        *,
        label: str = "",
        by: str = "",
        timeout_s: float | None = None,
    ) -> Iterator[Label]:
        """Yield label records, oldest first. They are fetched page by page.

        A record stays until its item is deleted. For one item and label, the newest record holds.

        Parameters
        ----------
        ids
            Only records about these items, up to 500 of them at a time. Defaults to all.
        label
            Only records of this label. Defaults to all.
        by
            Only records by this person or head. Defaults to all.
        """
        return self._session.iterate(label_records.list_all(self.name, ids, label, by), timeout_s)

    def undo_labels(
        self, ids: Iterable[str], *, label: str = "", by: str = "", timeout_s: float | None = None
    ) -> list[Label | Fc7Error]:
        """Take back the newest label record of each item, so that the one before it holds again.

        Parameters
        ----------
        ids
            Ids of the items.
        label
            Only a record of this label. Defaults to any.
        by
            Only a record by this person or head. Defaults to any.

        Returns
        -------
        list of Label or Fc7Error
            The record that is gone, or a `NotFound` error if there is none.
        """
        return self._session.run(label_records.undo(self.name, ids, label, by), timeout_s)

    def import_labels(
        self,
        path: Path | str,
        *,
        format: LabelFormat | None = None,
        by: str = "",
        timeout_s: float | None = None,
        report: Callable[[Labelled], object] | None = None,
    ) -> list[Labelled]:
        """Record the labels of a file, or of a folder tree.

        Parameters
        ----------
        path
            A CSV file (UTF-8, or UTF-16 with a byte order mark) with the columns id and label; a JSON file in COCO's
            or Label Studio's format; or a folder whose folders are labels. A picture in a folder stands for the items
            with the same bytes. The ``file_name`` of a COCO file is an id, and so is ``data.id`` or ``data.image`` of
            a task of Label Studio.
        format
            "csv", "folders", "coco" or "label-studio". Defaults to what the path and the file are.
        by
            Who says so, where the file does not tell.
        report
            Called for each label as soon as the server has answered. What is reported is on disk.

        Returns
        -------
        list of Labelled
            One result per row, in the order of the file. A row that cannot be recorded is failed, and the others are
            recorded: its item is not stored, its bytes are not text, or it contradicts another row.

        Raises
        ------
        NotFound
            There is no such file.
        InvalidArgument
            The file is not of its format.
        """
        return self._session.run(label_files.import_labels(self, path, format, by, report), timeout_s)

    def export_labels(
        self,
        path: Path | str,
        *,
        format: LabelFormat | None = None,
        by: str = "",
        timeout_s: float | None = None,
    ) -> LabelsWritten:
        """Write the label records to a file, or to a folder tree.

        CSV holds all records. The other formats know no records, so they get the positive labels that hold now. In a
        folder tree an item has one label, its last positive one, and its picture is copied from ``payload.path``.

        Parameters
        ----------
        path
            The file, or a folder that is new or empty.
        format
            See `import_labels`. Defaults to "csv" if the name ends in .csv.
        by
            Only records by this person or head. Defaults to all.

        Raises
        ------
        InvalidArgument
            The format is not known.
        FailedPrecondition
            The folder is not empty.

        Examples
        --------
        >>> photos.export_labels("labels.csv").failed
        []
        """
        return self._session.run(label_files.export_labels(self, path, format, by), timeout_s)
