"""A teacher: a trained network whose features and logits another network learns to predict while it trains."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from fc7.errors import InvalidArgument
from fc7_models.data.inference import open_graph, open_model
from fc7_models.networks import Network
from fc7_service.bundle.bundle import Bundle
from fc7_service.bundle.onnx_file import cut_graph

TEMPERATURE = 2.0  # of the softmax that is compared; Hinton et al. 2015, section 2
LOGITS = "logits"


class Teacher:
    """The frozen network of a bundle, run on the views that the student sees.

    Parameters
    ----------
    bundle
        It has logits, and a layer before them that takes pictures of the same size.
    device
        Where the student trains; on a GPU, the teacher runs on the first one.

    Raises
    ------
    InvalidArgument
        The bundle has no logits, or no other layer for pictures of their size.
    """

    def __init__(self, bundle: Bundle, device: torch.device) -> None:
        if LOGITS not in bundle.layers:
            raise InvalidArgument(
                f"bundle {bundle.name!r} cannot teach: it has no layer 'logits', only {', '.join(bundle.layers)}. "
                "Name a bundle with its softmax layer",
                name=bundle.name,
            )
        self.recipe = bundle.recipe_of(LOGITS)
        fitting = [name for name in bundle.layers if name != LOGITS and bundle.recipe_of(name) == self.recipe]
        if not fitting:
            raise InvalidArgument(
                f"bundle {bundle.name!r} cannot teach: no layer but 'logits' takes pictures of "
                f"{self.recipe.crop_px} pixels",
                name=bundle.name,
            )
        self.layer = bundle.default_layer if bundle.default_layer in fitting else fitting[-1]
        self.name, self.sha256, self.device = bundle.name, bundle.graph_sha256, device
        self.dims = bundle.layers[self.layer].dim, bundle.layers[LOGITS].dim
        graph = cut_graph(bundle.graph(), [self.layer, LOGITS])
        self._run = open_graph(graph, threads=torch.get_num_threads(), device=device.type)

    def answer(self, views: Tensor, network: Network) -> tuple[Tensor, Tensor]:
        """Return what the teacher computes for the student's views, resized to its own size.

        Parameters
        ----------
        views
            float32 (N, 3, H, W), the student's input.
        network
            The student; its recipe says how ``views`` were scaled.

        Returns
        -------
        features
            float32 (N, D).
        logits
            float32 (N, classes of the teacher).
        """
        student, own = network.recipe, self.recipe
        mean, std = (views.new_tensor(v).view(1, 3, 1, 1) for v in (student.mean, student.std))
        pixels = (views * std + mean) / student.scale
        side = (own.crop_px, own.crop_px)
        pixels = functional.interpolate(pixels, side, mode="bilinear", antialias=True).clamp(0, 255)
        mean, std = (views.new_tensor(v).view(1, 3, 1, 1) for v in (own.mean, own.std))
        inputs = ((pixels * own.scale - mean) / std).contiguous().cpu().numpy()
        features, logits = (torch.from_numpy(rows).to(self.device) for rows in self._run(inputs, [self.layer, LOGITS]))
        return features.flatten(1), logits


class Distillation(nn.Module):
    """Two linear layers from the student's fc7 to the teacher's answers. They end with the training.

    The teacher's classes may be others than the student's, because its logits have a layer of their own.
    """

    def __init__(self, units: int, dims: tuple[int, int]) -> None:
        super().__init__()
        self.features, self.logits = (nn.Linear(units, dim) for dim in dims)

    def forward(self, fc7: Tensor, features: Tensor, logits: Tensor) -> Tensor:
        """Return how far the student is from the teacher, averaged over the views.

        That is 1 minus the cosine of the features, plus the divergence of the softened softmaxes.

        References
        ----------
        Romero et al. 2015, "FitNets", section 2.2: a regressor from the student's layer to the teacher's.
        Hinton, Vinyals & Dean 2015, section 2: softened softmaxes, times the square of the temperature.
        """
        angle = 1 - functional.cosine_similarity(self.features(fc7), features).mean()
        soft = functional.log_softmax(self.logits(fc7) / TEMPERATURE, 1)
        wanted = functional.log_softmax(logits / TEMPERATURE, 1)
        return angle + TEMPERATURE**2 * functional.kl_div(soft, wanted, reduction="batchmean", log_target=True)


def load_teacher(source: Path, device: torch.device) -> Teacher:
    """Open the bundle of a teacher: its folder, or the name of a shipped one.

    Raises
    ------
    NotFound, DataLoss, FailedPrecondition
        There is no such bundle, or it cannot be opened.
    InvalidArgument
        See ``Teacher``.
    """
    return Teacher(open_model(str(source)), device)
