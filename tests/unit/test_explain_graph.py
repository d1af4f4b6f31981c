"""Cuts of an ONNX graph compute what the whole graph computes, and refuse what is not there."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from fc7.errors import DataLoss, FailedPrecondition
from fc7_service.bundle.onnx_file import cut_graph, read_metadata
from tiny import PX, tiny_graph

PICTURES = np.random.default_rng(3).standard_normal((2, 3, PX, PX)).astype(np.float32)
NAMES = ["conv5", "pool5", "fc6", "fc7", "logits"]


def run(graph: bytes, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


WHOLE = run(tiny_graph(), {"image": PICTURES})


@pytest.mark.parametrize("wanted", [[name] for name in NAMES] + [["conv5", "logits"]])
def test_a_cut_computes_what_the_whole_computes(wanted: list[str]) -> None:
    cutting = cut_graph(tiny_graph(), wanted)
    found = run(cutting, {"image": PICTURES})
    assert list(found) == wanted
    for name in wanted:
        np.testing.assert_array_equal(found[name], WHOLE[name])
    assert len(onnx.load_from_string(cutting).graph.node) <= 1 + 2 * (NAMES.index(wanted[-1]) + 1)


@pytest.mark.parametrize(("start", "end"), [("conv5", "fc7"), ("fc6", "logits"), ("fc7", "logits")])
def test_a_cut_begins_where_it_is_told(start: str, end: str) -> None:
    found = run(cut_graph(tiny_graph(), [end], [start]), {start: WHOLE[start]})
    np.testing.assert_allclose(found[end], WHOLE[end], rtol=1e-6)


def test_files_merge_by_concatenation_and_keep_inner_tensors() -> None:
    extra = onnx.ModelProto()
    extra.graph.node.append(onnx.helper.make_node("Neg", ["fc7"], ["minus"]))
    extra.metadata_props.add(key="layers", value="[1, 2]")
    merged = tiny_graph() + extra.SerializeToString()
    np.testing.assert_array_equal(run(cut_graph(merged, ["minus"]), {"image": PICTURES})["minus"], -WHOLE["fc7"])
    np.testing.assert_array_equal(run(cut_graph(merged, ["c"]), {"image": PICTURES})["c"].clip(0), WHOLE["conv5"])
    assert read_metadata(merged) == {"layers": "[1, 2]"}
    assert read_metadata(tiny_graph()) == {}


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(FailedPrecondition, match="has no tensor 'nothing'"):
        cut_graph(tiny_graph(), ["nothing"])
    with pytest.raises(FailedPrecondition, match="'conv5' does not depend on 'fc7'"):
        cut_graph(tiny_graph(), ["conv5"], ["fc7"])


@pytest.mark.parametrize("bad", [b"\x3a\xff\xff\xff\xff\x0f", b"\x3a\x05ab", b"\x07", tiny_graph()[:-3]])
def test_bytes_that_are_no_file_are_refused(bad: bytes) -> None:
    with pytest.raises(DataLoss, match="not an ONNX file"):
        cut_graph(bad, ["logits"])
