"""How features evolve during training, from the epochs that a run keeps: figure 4 of Zeiler & Fergus."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.errors import InvalidArgument, NotFound
from fc7_models.data.inference import Report
from fc7_models.deconv.build import build_deconv
from fc7_models.export.torch_to_onnx import fold_batch_norm, round_to_fp16, to_onnx
from fc7_models.studies.study_inputs import load_view, open_unit_graph, sample_pictures
from fc7_models.training.trained_network import load_trained
from fc7_service.bundle.onnx_file import read_metadata
from fc7_service.features.preprocess import to_tensor

N_PICTURES = 100
_N_UNITS, _SEED = 6, 7  # units of each layer, chosen at random
_BATCH = 50


@dataclass(frozen=True, slots=True)
class UnitSnapshot:
    """One unit after one epoch, in the picture that excites it most."""

    layer: str
    unit: int
    epoch: int
    value: float  # its strongest activation in any picture
    picture: str  # the picture with that activation
    pixels: NDArray[np.float32]  # (h, w, 3), the projection, cropped to the receptive field

    def row(self) -> dict[str, int | float | str]:
        """Return the fields that are printed and written to the table."""
        return {name: getattr(self, name) for name in ("layer", "unit", "epoch", "value", "picture")}


def project_epochs(checkpoints: Path, folder: Path, report: Report) -> list[UnitSnapshot]:
    """Project units of every convolution to pixels, after each epoch that a run kept.

    Parameters
    ----------
    checkpoints
        Folder of a run: ``epoch-1.pt``, ``epoch-2.pt``, ``epoch-5.pt``, ...
    folder
        Pictures, at any depth. 100 of them are used, evenly spaced in the order of their names.
    report
        Called with the epochs done and all epochs.

    Returns
    -------
    list of UnitSnapshot
        Six units of each layer, the same in every epoch, each in the picture that excites it most after that epoch.

    Raises
    ------
    NotFound
        No such folder, or it keeps no epoch.
    InvalidArgument
        ``folder`` holds no picture, or the epochs are of different networks.
    DataLoss
        A file of the run is damaged.
    FailedPrecondition
        The network branches, so it has no deconvnet.
    ImageDecodeError, FailedPrecondition
        A picture is damaged or cannot be read; it is named.

    References
    ----------
    Zeiler & Fergus 2013 (arXiv 1311.2901), section 4 and figure 4.
    """
    epochs = _epochs(checkpoints)
    paths = sample_pictures(folder, N_PICTURES)
    names = [str(path.relative_to(folder)) for path in paths]
    network, snapshots, inputs = "", [], np.zeros(0, np.float32)
    for done, (epoch, file) in enumerate(epochs.items(), 1):
        trained = load_trained(file)
        name, recipe = trained.record.plan.network, trained.network.recipe
        if not network:
            network = name
            inputs = np.stack([to_tensor(load_view(path, recipe), recipe) for path in paths])
        if name != network:
            raise InvalidArgument(
                f"{str(file)!r} holds {name}, but earlier epochs hold {network}. Name the folder of one run",
                name=str(file),
            )
        graph = to_onnx(round_to_fp16(fold_batch_norm(trained.module)), trained.network)
        backward = build_deconv(graph, recipe.crop_px)
        for layer in json.loads(read_metadata(backward)["layers"]):
            if layer["map"] and layer["name"].startswith("conv"):
                snapshots += _project_layer(graph + backward, layer, inputs, names, epoch)
        report(done, len(epochs))
    return sorted(snapshots, key=lambda snapshot: (snapshot.layer, snapshot.unit, snapshot.epoch))


def _epochs(folder: Path) -> dict[int, Path]:
    """Return the kept epochs, first to last."""
    if not folder.is_dir():
        raise NotFound(f"folder {str(folder)!r} does not exist", name=str(folder))
    epochs = {int(m[1]): path for path in folder.iterdir() if (m := re.fullmatch(r"epoch-(\d+)\.pt", path.name))}
    if not epochs:
        raise NotFound(
            f"folder {str(folder)!r} holds no epoch-N.pt. `fc7 model train --checkpoints DIR` keeps the weights after "
            "epochs 1, 2, 5, 10, 20, ...; a run of a version that kept none must be trained again",
            name=str(folder),
        )
    return dict(sorted(epochs.items()))


def _project_layer(
    graph: bytes, layer: dict[str, Any], inputs: NDArray[np.float32], names: Sequence[str], epoch: int
) -> list[UnitSnapshot]:
    """Return a layer's units after one epoch, each in the picture where it is strongest."""
    name, n_units = layer["name"], layer["channels"]
    units = sorted(random.Random(_SEED).sample(range(n_units), min(_N_UNITS, n_units)))  # noqa: S311
    peaks_of = open_unit_graph(graph, [f"peaks/{name}"])
    batches = [inputs[i : i + _BATCH] for i in range(0, len(inputs), _BATCH)]
    peaks = np.concatenate([peaks_of(batch, [0] * len(batch))[0] for batch in batches])[:, units]  # (N, units)
    best = peaks.argmax(axis=0)
    pixels, places = open_unit_graph(graph, [f"pixels/deconv/{name}", f"place/{name}"])(inputs[best], units)
    snapshots = []
    for i, unit in enumerate(units):
        rows, columns = (
            _receptive_pixels(layer, int(at), inputs.shape[2]) for at in divmod(int(places[i]), layer["map"][1])
        )
        patch = pixels[i].transpose(1, 2, 0)[rows, columns]
        snapshots.append(UnitSnapshot(name, unit, epoch, float(peaks[best[i], i]), names[best[i]], patch))
    return snapshots


def _receptive_pixels(layer: dict[str, Any], index: int, px: int) -> slice:
    """Return the pixels along one axis that a unit sees."""
    if not layer["stride"]:
        return slice(0, px)
    first = layer["offset"] + index * layer["stride"]
    return slice(max(0, first), min(px, first + layer["size"]))
