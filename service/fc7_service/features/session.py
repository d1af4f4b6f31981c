"""Run a bundle's graph with ONNX Runtime on the requested device."""

from __future__ import annotations

import ctypes
import importlib.metadata
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fc7.errors import DataLoss, FailedPrecondition, Reason
from fc7_service.bundle.bundle import Bundle
from fc7_service.bundle.onnx_file import cut_graph

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class Session:
    """A network, ready to run.

    Layers that share a recipe share a session for their part of the graph, because ONNX Runtime always computes the
    whole graph, whichever outputs are requested.

    Parameters
    ----------
    bundle
        Its graph is checked against the manifest before it is loaded.
    device
        "cpu", "cuda", or "auto", which is cuda if it is available.
    threads
        CPU threads of one run.

    Raises
    ------
    FailedPrecondition
        "cuda" was requested and is not available, or both builds of ONNX Runtime are installed.
    DataLoss
        The graph is damaged or lacks an output of the manifest.
    """

    def __init__(self, bundle: Bundle, *, device: str, threads: int) -> None:
        graph, sizes = bundle.graph(), bundle.layers_by_recipe().values()
        self._bundle = bundle
        self._sessions: dict[str, Any] = {}  # layer -> ONNX Runtime's session
        for layers in sizes:
            part = graph if len(sizes) == 1 else _part(graph, layers, bundle.name)
            session = open_session(part, bundle.name, device=device, threads=threads)
            missing = set(layers) - {output.name for output in session.get_outputs()}
            if missing:
                raise DataLoss(
                    f"the graph of bundle {bundle.name!r} lacks outputs {sorted(missing)}",
                    name=bundle.name,
                    reason=Reason.BUNDLE_DAMAGED,
                )
            _check_size(session, bundle, layers[0])
            self._sessions |= dict.fromkeys(layers, session)
        self.provider: str = session.get_providers()[0]
        if device == "cuda" and self.provider != CUDA:
            raise FailedPrecondition(
                "device cuda cannot be used: ONNX Runtime fell back to the CPU. "
                "Check the driver and the CUDA libraries",
                name="device",
                reason=Reason.DEVICE_UNAVAILABLE,
            )
        self._input = session.get_inputs()[0].name

    def run(self, batch: NDArray[np.float32], layers: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return each layer, flattened to float32 (N, D), of ``batch`` (N, 3, H, W).

        Raises
        ------
        DataLoss
            The graph cannot run on images of the manifest's size, or a layer does not have the manifest's shape.
        """
        outputs: dict[str, Any] = {}
        for session in dict.fromkeys(self._sessions[layer] for layer in layers):
            names = [layer for layer in layers if self._sessions[layer] is session]
            try:
                values = session.run(names, {self._input: batch})
            except Exception as error:  # the runtime's errors have no other common base
                name = self._bundle.name
                raise DataLoss(
                    f"the graph of bundle {name!r} cannot be run: {error}", name=name, reason=Reason.BUNDLE_DAMAGED
                ) from error
            outputs |= zip(names, values, strict=True)
        return [self._feature(layer, outputs[layer], len(batch)) for layer in layers]

    def give_back(self) -> None:
        """Give the memory of large batches back to the machine; the next large batch takes it again."""
        import onnxruntime as ort

        if self.provider != CPU:
            return  # a GPU's memory has its own allocator, which nobody else waits for
        options = ort.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        for layer, session in {id(session): (layer, session) for layer, session in self._sessions.items()}.values():
            px = self._bundle.recipe_of(layer).crop_px
            session.run([layer], {self._input: np.zeros((1, 3, px, px), np.float32)}, options)
        _trim()

    def _feature(self, layer: str, output: Any, n: int) -> NDArray[np.float32]:
        """Return the ``n`` rows of a layer, and refuse a shape that differs from the manifest."""
        declared = self._bundle.layers[layer]
        shape = np.shape(output)
        if shape[:1] != (n,) or np.prod(shape[1:]) != declared.dim:
            raise DataLoss(
                f"layer {layer!r} of bundle {self._bundle.name!r} has shape {shape} for {n} images, but its "
                f"manifest says {declared.shape} for each. Get the bundle again",
                name=layer,
                reason=Reason.BUNDLE_DAMAGED,
            )
        return np.asarray(output, np.float32).reshape(n, -1)


def open_session(graph: bytes, name: str, *, device: str, threads: int, keeps_memory: bool = True) -> Any:
    """Return an ONNX Runtime session for an ONNX file. The other parameters and the errors are those of `Session`.

    Parameters
    ----------
    name
        Name of the bundle that the file comes from.
    keeps_memory
        Whether to keep the CPU memory of the largest run for later runs.
    """
    import onnxruntime as ort

    check_installed()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning workers cost half a core at low load, and save only 5 % of latency.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    providers = _providers(ort, device)
    # Keep the CPU arena on CUDA: without it, explanations read wrong shapes (ONNX Runtime 1.31.1, seen once).
    options.enable_cpu_mem_arena = keeps_memory or providers != [CPU]
    try:
        return ort.InferenceSession(graph, options, providers=providers)
    except Exception as error:  # the runtime's errors have no other common base
        if device == "cuda":
            raise FailedPrecondition(
                f"device cuda cannot be used: {error}", name="device", reason=Reason.DEVICE_UNAVAILABLE
            ) from error
        raise DataLoss(
            f"the graph of bundle {name!r} cannot be loaded: {error}", name=name, reason=Reason.BUNDLE_DAMAGED
        ) from error


def _trim() -> None:
    """Return free memory of the C library to the machine, where the library is glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def _check_size(session: Any, bundle: Bundle, layer: str) -> None:
    """Refuse a recipe whose image size the graph does not accept, before any image is prepared."""
    px, taken = bundle.recipe_of(layer).crop_px, session.get_inputs()[0].shape
    if len(taken) != 4 or any(isinstance(side, int) and side != px for side in taken[2:]) or taken[1] not in (3, None):
        raise DataLoss(
            f"the graph of bundle {bundle.name!r} takes {taken}, but its recipe gives (N, 3, {px}, {px}). "
            "Get the bundle again",
            name=bundle.name,
            reason=Reason.BUNDLE_DAMAGED,
        )


def _part(graph: bytes, layers: Sequence[str], name: str) -> bytes:
    try:
        return cut_graph(graph, layers)
    except FailedPrecondition as error:
        raise DataLoss(
            f"the graph of bundle {name!r} lacks outputs: {error.message}", name=name, reason=Reason.BUNDLE_DAMAGED
        ) from error


def check_installed() -> None:
    """Refuse an environment with the CPU and the GPU build of a library: they overwrite each other's files.

    Raises
    ------
    FailedPrecondition
        Both builds are installed.
    """
    installed = {name for d in importlib.metadata.distributions() if (name := (d.metadata["Name"] or "").lower())}
    for cpu, gpu in (("onnxruntime", "onnxruntime-gpu"), ("faiss-cpu", "faiss-gpu")):
        if {cpu, gpu} <= installed:
            raise FailedPrecondition(
                f"{cpu} and {gpu} are both installed and overwrite each other. Run "
                f"pip uninstall {cpu} {gpu}, then install one of fc7[cpu] and fc7[gpu]",
                name=gpu,
            )


def _providers(ort: Any, device: str) -> list[Any]:
    available = ort.get_available_providers()
    if device == "cuda" and CUDA not in available:
        raise FailedPrecondition(
            "device cuda cannot be used: this ONNX Runtime has no CUDA provider. Install fc7[gpu] in place of fc7[cpu]",
            name="device",
            reason=Reason.DEVICE_UNAVAILABLE,
        )
    if device == "cpu" or CUDA not in available:
        return [CPU]
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    # TF32 would cost the fourth digit; exhaustive search would run again for each new batch size.
    return [(CUDA, {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}), CPU]
