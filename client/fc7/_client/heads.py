"""Calls that train heads and look after them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from fc7._operations import head as heads
from fc7._operations import head_export as head_exports
from fc7._operations import head_report as head_reports
from fc7._operations import head_trials
from fc7._operations import head_weights as weights_of_heads
from fc7._session import Session
from fc7.features import Features
from fc7.filters import Where
from fc7.head_report import HeadReport
from fc7.head_trials import ComparedHeads, Shadow
from fc7.head_weights import HeadWeights
from fc7.images import ImageLike
from fc7.results import Head


class HeadCalls:
    """Calls that train heads and look after them."""

    _session: Session

    def train_head(
        self,
        name: str,
        *,
        collection: str | None = None,
        label: str | None = "label",
        records: bool = False,
        group: str | None = None,
        instant: bool = False,
        balanced: bool = False,
        images: ImageLike | Iterable[ImageLike] | None = None,
        features: Features | None = None,
        labels: Iterable[str] | None = None,
        ids: Iterable[str] | None = None,
        groups: Iterable[str] | None = None,
        weights: Iterable[float] | None = None,
        source: str = "",
        layer: str = "",
        model: str = "",
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> Head:
        """Train the next version of a head: a classifier for your own classes.

        Give either ``collection``, or ``images`` with ``labels``, or ``features`` with ``labels``.

        Parameters
        ----------
        name
            1 to 64 letters, digits, ".", "_" or "-", not starting with ".".
        collection
            Collection whose features are used.
        label
            Field of the payloads that holds the label. None takes the label records of the collection instead: the
            last positive label of an item counts.
        records
            Let the label records outrank the field. An item without a positive record has the label in the field,
            unless a record says that this label does not fit or is unsure.
        group
            Field of the payloads whose equal values keep items on one side of every split.
        instant
            With ``collection``: train in one step, from sums over its items that the server keeps up to date. It
            does not compare methods, has no learning curve and cannot refuse unknown pictures. Up to 500 items judge
            it, each by a head without it, so copies of a picture flatter it.
        balanced
            Let every class count as much as any other in the fit, however many images it has. This raises the balanced
            accuracy, often at the cost of the accuracy.
        images
            Images to train on. Unreadable ones are left out and listed in `Head.failed`.
        features
            Features to train on. A model of the server must have made them, each from one view.
        labels
            One label per image or row.
        ids
            What to call each image or row in reports. Defaults to the paths of images, and to the numbers of rows.
        groups
            Group of each image or row: those of one group stay on one side of every split, as copies do. An empty text
            stands for no group.
        weights
            How much each image or row counts in the fit, from 1e-6 to 1e6. Defaults to 1. The figures count images.
        source
            Where the data comes from, for the record, such as a folder. Defaults to the collection.
        layer, model
            Layer and model that the images go through. They default to the model's default layer and the server's
            default model.
        report
            Called with the number of images extracted, after each batch.

        Returns
        -------
        Head
            The new version, which is not yet published.

        Raises
        ------
        InvalidArgument
            There are fewer than two classes, or not as many labels as images.

        References
        ----------
        Zeiler & Fergus 2013, section 5.2: only the softmax layer is trained.

        Examples
        --------
        >>> paths = ["rose1.jpg", "rose2.jpg", "tulip1.jpg", "tulip2.jpg"]
        >>> client.train_head("flowers", images=paths, labels=["rose", "rose", "tulip", "tulip"]).classes
        ['rose', 'tulip']
        """
        plan = heads.plan(name, collection, label, layer, model, features, source, group, records, instant, balanced)
        return self._session.run(heads.train(plan, images, features, labels, report, ids, groups, weights), timeout_s)

    def publish_head(
        self, name: str, version: int = 0, *, refuse_unknown: bool = False, timeout_s: float | None = None
    ) -> Head:
        """Make a version the one that `classify` uses.

        Parameters
        ----------
        name
            Name of the head.
        version
            Version to publish; 0 for the newest. To go back, publish an older version.
        refuse_unknown
            Let it refuse pictures of none of its classes. `Head.unknown` says what that costs.

        Raises
        ------
        NotFound
            There is no such head or version.
        FailedPrecondition
            The version cannot tell such pictures: it has two classes, or is older than release 0.3.
        """
        return self._session.run(heads.publish(name, version, refuse_unknown), timeout_s)

    def head(self, name: str, version: int = 0, *, timeout_s: float | None = None) -> Head:
        """Return one version of a head.

        Parameters
        ----------
        name
            Name of the head.
        version
            Version; 0 for the newest.

        Raises
        ------
        NotFound
            There is no such head or version.
        """
        return self._session.run(heads.get(name, version), timeout_s)

    def head_report(self, name: str, version: int = 0, *, timeout_s: float | None = None) -> HeadReport:
        """Return what is known about a version: how good it is, and its answer for every training picture.

        Each answer comes from a head that was fitted without that picture.

        Parameters
        ----------
        name
            Name of the head.
        version
            Version; 0 for the newest.

        Raises
        ------
        NotFound
            There is no such head or version.
        FailedPrecondition
            The version was trained before release 0.3. Train it again.

        Examples
        --------
        >>> paths = ["rose1.jpg", "rose2.jpg", "tulip1.jpg", "tulip2.jpg"]
        >>> head = client.train_head("flowers", images=paths, labels=["rose", "rose", "tulip", "tulip"])
        >>> report = client.head_report("flowers")
        >>> len(report.rows), report.measures.count
        (4, 4)
        """
        return self._session.run(head_reports.get(name, version), timeout_s)

    def head_weights(self, name: str, version: int = 0, *, timeout_s: float | None = None) -> HeadWeights:
        """Return the weights of a head, for use elsewhere. `fc7.sklearn.SoftmaxHead` takes them.

        Parameters
        ----------
        name
            Name of the head.
        version
            Version; 0 for the newest.

        Raises
        ------
        NotFound
            There is no such head or version.
        """
        return self._session.run(weights_of_heads.get(name, version), timeout_s)

    def import_head(self, name: str, weights: HeadWeights, *, source: str = "", timeout_s: float | None = None) -> Head:
        """Store weights that were fitted elsewhere as the next version of a head.

        Nobody has judged such a version: it has no accuracy, no report and no rule for unknown pictures.
        `compare_heads` and ``fc7 head evaluate`` measure it.

        Parameters
        ----------
        name
            1 to 64 letters, digits, ".", "_" or "-", not starting with ".".
        weights
            The weights. A model of the server must make the features that they take.
        source
            Where they come from, for the record.

        Returns
        -------
        Head
            The new version, which is not yet published.

        Raises
        ------
        InvalidArgument
            There are fewer than two classes, shapes do not match, or a value is not finite.
        FailedPrecondition
            No model of the server makes such features.
        """
        return self._session.run(weights_of_heads.store(name, weights, source), timeout_s)

    def compare_heads(
        self,
        first: str,
        second: str,
        *,
        collection: str | None = None,
        label: str | None = "label",
        records: bool = False,
        where: Where | None = None,
        images: ImageLike | Iterable[ImageLike] | None = None,
        labels: Iterable[str] | None = None,
        ids: Iterable[str] | None = None,
        timeout_s: float | None = None,
        report: Callable[[int], object] | None = None,
    ) -> ComparedHeads:
        """Say which of two heads is better on the same labelled pictures, and whether that may be chance.

        Give either ``collection``, or ``images`` with ``labels``.

        Parameters
        ----------
        first, second
            The heads, as NAME (its newest version) or NAME/VERSION, published or not.
        collection
            Collection whose features and labels are used.
        label, records
            Where its labels are, as for `train_head`.
        where
            Only items whose payload matches this filter. Defaults to all.
        images
            Images that neither head was trained on.
        labels
            One label per image.
        ids
            What to call each image. Defaults to their numbers.
        report
            Called with the number of images done, after each batch.

        Raises
        ------
        NotFound
            There is no such head, version or collection.
        InvalidArgument
            No picture has a label that both heads know.
        FailedPrecondition
            The features of the collection are not those that both heads take.

        References
        ----------
        Dietterich 1998, "Approximate statistical tests for comparing supervised classification learning algorithms",
        section 3.1.
        """
        operation = head_trials.compare(first, second, collection, label, records, where, images, labels, ids, report)
        return self._session.run(operation, timeout_s)

    def set_shadow(
        self, name: str, version: int | None, *, share: float = 0.1, timeout_s: float | None = None
    ) -> Shadow | None:
        """Let a version answer a share of the live calls of `classify`, out of sight, beside the published one.

        Live answers stay those of the published version, and wait for nothing. Pictures are not kept. Calls that name a
        version are not live.

        Parameters
        ----------
        name
            Name of the head, of which a version must be published.
        version
            The version. None ends the shadow, and drops what was counted.
        share
            Share of the pictures that it answers, above 0 and at most 1. They are drawn at random.

        Raises
        ------
        NotFound
            There is no such head or version.
        InvalidArgument
            The version is the published one, or ``share`` is out of range.
        FailedPrecondition
            No version is published, or the version takes other features than the published one.
        """
        return self._session.run(head_trials.set_shadow(name, version, share), timeout_s)

    def shadow(self, name: str, *, timeout_s: float | None = None) -> Shadow | None:
        """Return how often the version in the shadow agreed with the published one; None if there is no shadow.

        Parameters
        ----------
        name
            Name of the head.

        Raises
        ------
        NotFound
            There is no such head.
        """
        return self._session.run(head_trials.get_shadow(name), timeout_s)

    def export_head(
        self, name: str, folder: str | os.PathLike[str], *, version: int = 0, timeout_s: float | None = None
    ) -> Head:
        """Write a head and its network to a folder that classifies without fc7.

        The folder has ``model.onnx`` (network and head in one file), ``recipe.json``, ``labels.json``, reference
        pictures with their probabilities, and ``run.py``, which needs onnxruntime, NumPy and Pillow alone.

        Parameters
        ----------
        name
            Name of the head.
        folder
            New folder.
        version
            Version; 0 for the newest.

        Raises
        ------
        AlreadyExists
            The folder exists.
        NotFound
            There is no such head or version.
        FailedPrecondition
            No model of the server makes the features of the head.
        """
        return self._session.run(head_exports.export(name, Path(folder), version), timeout_s)

    def heads(self, *, all_versions: bool = False, timeout_s: float | None = None) -> list[Head]:
        """Return the newest version of every head, sorted by name; or all versions, oldest first."""
        return self._session.run(heads.list_all(all_versions), timeout_s)

    def delete_head(
        self,
        name: str,
        version: int | None = None,
        *,
        all_versions: bool = False,
        timeout_s: float | None = None,
    ) -> None:
        """Delete one version of a head, or the whole head.

        Parameters
        ----------
        name
            Name of the head.
        version
            Version to delete. It must not be published.
        all_versions
            Delete the whole head, published or not.

        Raises
        ------
        NotFound
            There is no such head or version.
        FailedPrecondition
            The version is published.
        """
        self._session.run(heads.delete(name, version, all_versions), timeout_s)
