"""The Open Inference Protocol, with stubs that are made here from its `.proto`, against a real server."""

from __future__ import annotations

import importlib
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_tools import protoc

import fc7
from fc7_service.bundle.golden import read_golden
from servers import WAIT_S, jpeg, serving
from tiny import PX, make_tiny_bundle

PROTO = Path(__file__).parents[2] / "proto"
CODE = grpc.StatusCode


@pytest.fixture(scope="module")
def pb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The stubs, as another client of the protocol has them: in the pool that all messages of a process share."""
    out = tmp_path_factory.mktemp("stubs")
    source = f"-I{PROTO / 'inference'}"
    assert not protoc.main(["protoc", source, f"--python_out={out}", f"--grpc_python_out={out}", "inference.proto"])
    sys.path.insert(0, str(out))
    yield importlib.import_module("inference_pb2")
    sys.path.remove(str(out))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    make_tiny_bundle(folder / "tiny")
    with serving(folder / "data", "--model", str(folder / "tiny")) as served:
        yield served.address


@pytest.fixture(scope="module")
def stub(pb: Any, address: str) -> Iterator[Any]:
    with grpc.insecure_channel(address) as channel:
        yield importlib.import_module("inference_pb2_grpc").GRPCInferenceServiceStub(channel)


def files(*images: bytes) -> bytes:
    """A raw BYTES tensor."""
    return b"".join(struct.pack("<I", len(image)) + image for image in images)


def numbers(answer: Any) -> dict[str, np.ndarray]:
    return {
        output.name: np.frombuffer(raw, "<f4").reshape(tuple(output.shape))
        for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
    }


def words(answer: Any) -> list[str]:
    (raw,), found, at = answer.raw_output_contents, [], 0
    while at < len(raw):
        (size,) = struct.unpack_from("<I", raw, at)
        found.append(raw[at + 4 : at + 4 + size].decode())
        at += 4 + size
    return found


def request(pb: Any, **changes: Any) -> Any:
    """A good request for two files, with some fields changed."""
    tensor = pb.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[2])
    fields: dict[str, Any] = {
        "model_name": "tiny",
        "inputs": [tensor],
        "raw_input_contents": [files(jpeg(0), jpeg(1))],
        "outputs": [pb.ModelInferRequest.InferRequestedOutputTensor(name="fc7")],
    }
    return pb.ModelInferRequest(**fields | changes)


def tensor(pb: Any, **fields: Any) -> Any:
    return [pb.ModelInferRequest.InferInputTensor(**{"name": "image", "datatype": "BYTES", "shape": [2]} | fields)]


def output(pb: Any, name: str, **parameters: Any) -> Any:
    wanted = pb.ModelInferRequest.InferRequestedOutputTensor(name=name)
    for key, value in parameters.items():
        wanted.parameters[key].int64_param = value
    return [wanted]


def test_the_descriptors_are_current_and_stand_beside_other_stubs(pb: Any) -> None:
    assert pb.DESCRIPTOR.pool.FindMessageTypeByName("inference.ModelInferRequest")
    from fc7_service.rpc import inference_messages  # would raise, were its messages in the same pool

    sys.path.insert(0, str(PROTO))
    generate = importlib.import_module("generate")
    sys.path.remove(str(PROTO))
    assert generate.inference() == generate.INFERENCE.read_bytes(), "run `make proto`"
    assert inference_messages.pb.ModelInferRequest is not pb.ModelInferRequest


def test_pictures_give_what_extract_gives(stub: Any, pb: Any, address: str) -> None:
    with fc7.connect(address) as client:
        wanted = {layer: client.extract([jpeg(0), jpeg(1)], layer=layer).values for layer in ("fc6", "fc7", "logits")}
    answer = stub.ModelInfer(request(pb, id="mine"))
    assert (answer.model_name, answer.model_version, answer.id) == ("tiny", "1", "mine")
    np.testing.assert_allclose(numbers(answer)["fc7"], wanted["fc7"], rtol=1e-5)
    everything = numbers(stub.ModelInfer(request(pb, outputs=[])))
    assert list(everything) == ["conv5", "pool5", "fc6", "fc7", "logits"]
    for layer, values in wanted.items():
        np.testing.assert_allclose(everything[layer], values, rtol=1e-5)
    contents = pb.InferTensorContents(bytes_contents=[jpeg(0), jpeg(1)])
    inline = request(pb, inputs=tensor(pb, shape=[2, 1], contents=contents), raw_input_contents=[])
    np.testing.assert_array_equal(numbers(stub.ModelInfer(inline))["fc7"], numbers(answer)["fc7"])


@pytest.mark.parametrize("is_raw", [True, False])
def test_pixels_and_prepared_tensors(stub: Any, pb: Any, tmp_path: Path, is_raw: bool) -> None:
    golden = read_golden(make_tiny_bundle(tmp_path / "tiny"))
    for datatype, values, field in (
        ("UINT8", golden.pixels, "uint_contents"),
        ("FP32", golden.inputs, "fp32_contents"),
    ):
        contents = None if is_raw else pb.InferTensorContents(**{field: values.ravel().tolist()})
        asked = request(
            pb,
            inputs=tensor(pb, datatype=datatype, shape=values.shape, contents=contents),
            raw_input_contents=[values.tobytes()] if is_raw else [],
        )
        np.testing.assert_allclose(numbers(stub.ModelInfer(asked))["fc7"], golden.layers["fc7"], rtol=1e-4, atol=1e-6)


def test_classification(stub: Any, pb: Any) -> None:
    plain = numbers(stub.ModelInfer(request(pb, outputs=output(pb, "logits"))))["logits"]
    answer = stub.ModelInfer(request(pb, outputs=output(pb, "logits", classification=2)))
    assert (answer.outputs[0].datatype, list(answer.outputs[0].shape)) == ("BYTES", [2, 2])
    rows = [word.split(":") for word in words(answer)]
    best = np.argsort(-plain, axis=1)[:, :2].ravel()
    assert [int(index) for _, index, _ in rows] == best.tolist()
    names = ["red thing", "green thing", "blue thing"]
    assert [label for *_, label in rows] == [names[i] for i in best]
    np.testing.assert_allclose([float(value) for value, *_ in rows], -np.sort(-plain, axis=1)[:, :2].ravel(), atol=1e-5)
    many = stub.ModelInfer(request(pb, outputs=output(pb, "fc7", classification=99)))
    assert list(many.outputs[0].shape) == [2, 8]
    assert all(word.count(":") == 1 for word in words(many))  # fc7 has no classes


def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


# As Triton 2.51 answers, except where fc7 is stricter: one raw content too many is refused.
BAD: dict[str, tuple[Any, grpc.StatusCode, str]] = {
    "unknown model": (lambda pb: {"model_name": "none"}, CODE.NOT_FOUND, "model 'none' is not served"),
    "no model": (lambda pb: {"model_name": ""}, CODE.NOT_FOUND, "names no model"),
    "unknown version": (lambda pb: {"model_version": "9"}, CODE.NOT_FOUND, "model 'tiny:9' is not served"),
    "version": (lambda pb: {"model_version": "abc"}, CODE.INVALID_ARGUMENT, "the version must be a number (got 'abc')"),
    "datatype": (lambda pb: {"inputs": tensor(pb, datatype="FP64")}, CODE.INVALID_ARGUMENT, "must be BYTES, UINT8 or"),
    "rank": (lambda pb: {"inputs": tensor(pb, shape=[1, 2, 1])}, CODE.INVALID_ARGUMENT, "must have the shape [N]"),
    "no shape": (lambda pb: {"inputs": tensor(pb, shape=[])}, CODE.INVALID_ARGUMENT, "must begin with 1 to 4096"),
    "negative": (lambda pb: {"inputs": tensor(pb, shape=[-1])}, CODE.INVALID_ARGUMENT, "must begin with 1 to 4096"),
    "zero": (lambda pb: {"inputs": tensor(pb, shape=[0])}, CODE.INVALID_ARGUMENT, "must begin with 1 to 4096"),
    "above the batch": (lambda pb: {"inputs": tensor(pb, shape=[4097])}, CODE.INVALID_ARGUMENT, "1 to 4096 images"),
    "count": (
        lambda pb: {"inputs": tensor(pb, shape=[3])},
        CODE.INVALID_ARGUMENT,
        "but its shape says 3",
    ),
    "prefix": (lambda pb: {"raw_input_contents": [b"\xff\xff\xff\xff1"]}, CODE.INVALID_ARGUMENT, "exceeds the content"),
    "half a prefix": (lambda pb: {"raw_input_contents": [b"\0"]}, CODE.INVALID_ARGUMENT, "exceeds the content"),
    "two contents": (
        lambda pb: {"raw_input_contents": [b"", b""]},
        CODE.INVALID_ARGUMENT,
        "send the content of 'image'",
    ),
    "raw and contents": (
        lambda pb: {"inputs": tensor(pb, contents=pb.InferTensorContents(bytes_contents=[b"1", b"2"]))},
        CODE.INVALID_ARGUMENT,
        "send the content of 'image' once",
    ),
    "no input": (lambda pb: {"inputs": []}, CODE.INVALID_ARGUMENT, "exactly one input, 'image' (got none)"),
    "other input": (lambda pb: {"inputs": tensor(pb, name="data")}, CODE.INVALID_ARGUMENT, "'image' (got 'data')"),
    "other output": (lambda pb: {"outputs": output(pb, "fc9")}, CODE.INVALID_ARGUMENT, "has no output 'fc9'"),
    "top": (lambda pb: {"outputs": output(pb, "fc7", classification=-1)}, CODE.INVALID_ARGUMENT, "classification must"),
    "short": (
        lambda pb: {"inputs": tensor(pb, datatype="FP32", shape=[1, 3, PX, PX]), "raw_input_contents": [b"\0" * 8]},
        CODE.INVALID_ARGUMENT,
        "has 2 numbers, but its shape [1, 3, 16, 16] needs 768",
    ),
    "overflow": (
        lambda pb: {
            "inputs": tensor(pb, datatype="UINT8", shape=[4096, 2**31, 2**31, 3]),
            "raw_input_contents": [b"1"],
        },
        CODE.INVALID_ARGUMENT,
        "has 1 numbers, but its shape",
    ),
    "dims": (
        lambda pb: {
            "inputs": tensor(pb, datatype="FP32", shape=[1, 3, 2, 2]),
            "raw_input_contents": [np.zeros(12, np.float32).tobytes()],
        },
        CODE.INVALID_ARGUMENT,
        "image 0: a prepared tensor must have shape (3, 16, 16)",
    ),
    "nan": (
        lambda pb: {
            "inputs": tensor(pb, datatype="FP32", shape=[1, 3, PX, PX]),
            "raw_input_contents": [np.full(768, np.nan, np.float32).tobytes()],
        },
        CODE.INVALID_ARGUMENT,
        "image 0: the tensor contains NaN",
    ),
    "above 255": (
        lambda pb: {
            "inputs": tensor(
                pb, datatype="UINT8", shape=[1, 1, 1, 3], contents=pb.InferTensorContents(uint_contents=[1, 2, 256])
            ),
            "raw_input_contents": [],
        },
        CODE.INVALID_ARGUMENT,
        "a number above 255",
    ),
    "one bad picture": (
        lambda pb: {"raw_input_contents": [files(jpeg(0), jpeg(1)[:99])]},
        CODE.INVALID_ARGUMENT,
        "image 1: ",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_refused_by_name(stub: Any, pb: Any, case: str) -> None:
    changes, code, text = BAD[case]
    found = refused(lambda: stub.ModelInfer(request(pb, **changes(pb))))
    assert found[0] is code, found
    assert text in found[1]
    assert stub.ModelInfer(request(pb)).outputs[0].name == "fc7"


def test_a_stream_goes_on_after_an_error(stub: Any, pb: Any) -> None:
    asked = [request(pb, id="a"), request(pb, id="b", model_name="none"), request(pb, id="c")]
    answers = list(stub.ModelStreamInfer(iter(asked)))
    assert [answer.infer_response.id for answer in answers] == ["a", "b", "c"]
    assert [bool(answer.error_message) for answer in answers] == [False, True, False]
    assert all(a.infer_response.parameters["triton_final_response"].bool_param for a in answers)
    assert "model 'none' is not served" in answers[1].error_message


def test_a_request_with_a_time_limit(stub: Any, pb: Any) -> None:
    asked = request(pb)
    asked.parameters["timeout"].int64_param = 1
    assert refused(lambda: stub.ModelInfer(asked))[0] is CODE.DEADLINE_EXCEEDED
    asked.parameters["timeout"].int64_param = WAIT_S * 10**6
    assert stub.ModelInfer(asked).outputs[0].name == "fc7"


def test_what_the_server_says_of_itself(stub: Any, pb: Any) -> None:
    assert stub.ServerLive(pb.ServerLiveRequest()).live
    assert stub.ServerReady(pb.ServerReadyRequest()).ready
    assert stub.ModelReady(pb.ModelReadyRequest(name="tiny")).ready
    assert not stub.ModelReady(pb.ModelReadyRequest(name="none")).ready
    server = stub.ServerMetadata(pb.ServerMetadataRequest())
    assert (server.name, server.version) == ("fc7", fc7.__version__)
    assert "statistics" in server.extensions
    facts = stub.ModelMetadata(pb.ModelMetadataRequest(name="tiny"))
    assert [(one.name, one.datatype, list(one.shape)) for one in facts.inputs] == [("image", "BYTES", [-1])]
    assert [(one.name, list(one.shape)) for one in facts.outputs][-1] == ("logits", [-1, 3])
    config = stub.ModelConfig(pb.ModelConfigRequest(name="tiny", version="1")).config
    assert (config.name, config.max_batch_size, len(config.output)) == ("tiny", 4096, 5)
    for call, kind in ((stub.ModelMetadata, pb.ModelMetadataRequest), (stub.ModelConfig, pb.ModelConfigRequest)):
        assert refused(lambda call=call, kind=kind: call(kind(name="none")))[0] is CODE.NOT_FOUND


def test_statistics(stub: Any, pb: Any) -> None:
    def read() -> Any:
        (found,) = stub.ModelStatistics(pb.ModelStatisticsRequest(name="tiny")).model_stats
        return found

    before = read()
    stub.ModelInfer(request(pb))
    refused(lambda: stub.ModelInfer(request(pb, inputs=[])))
    after = read()
    assert after.inference_count - before.inference_count == 2
    assert after.execution_count > before.execution_count
    assert after.last_inference > 0
    stats, old = after.inference_stats, before.inference_stats
    assert (stats.success.count - old.success.count, stats.fail.count - old.fail.count) == (1, 1)
    assert stats.compute_infer.ns > old.compute_infer.ns
    assert len(stub.ModelStatistics(pb.ModelStatisticsRequest()).model_stats) == 1
    asked = pb.ModelStatisticsRequest(name="none")
    assert refused(lambda: stub.ModelStatistics(asked))[0] is CODE.INVALID_ARGUMENT


def test_the_repository(stub: Any, pb: Any, tmp_path: Path) -> None:
    def index() -> list[tuple[str, str, str]]:
        models = stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
        return [(one.name, one.version, one.state) for one in models]

    other = make_tiny_bundle(tmp_path / "other", name="other").path
    stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=str(other)))
    assert index()[-1] == ("other", "1", "READY")
    assert numbers(stub.ModelInfer(request(pb, model_name="other")))["fc7"].shape == (2, 8)
    stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="other"))
    assert index()[-1] == ("other", "2", "READY")
    asked = pb.RepositoryModelLoadRequest(model_name="none")
    assert refused(lambda: stub.RepositoryModelLoad(asked))[0] is CODE.NOT_FOUND
    for _ in range(2):  # unloading what is not there succeeds, as with Triton
        stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="other"))
    assert [name for name, *_ in index()] == ["tiny"]
    asked = pb.RepositoryModelUnloadRequest(model_name="tiny")
    assert refused(lambda: stub.RepositoryModelUnload(asked))[0] is CODE.FAILED_PRECONDITION


def test_the_protocol_asks_for_tokens(pb: Any, tmp_path: Path) -> None:
    make_tiny_bundle(tmp_path / "tiny")
    (tmp_path / "tokens").write_text("read r\n")
    words = ("--model", str(tmp_path / "tiny"), "--token-file", str(tmp_path / "tokens"))
    with serving(tmp_path / "data", *words) as served, grpc.insecure_channel(served.address) as channel:
        stub = importlib.import_module("inference_pb2_grpc").GRPCInferenceServiceStub(channel)
        assert refused(lambda: stub.ModelInfer(request(pb)))[0] is CODE.UNAUTHENTICATED
        metadata = (("authorization", "Bearer r"),)
        assert stub.ModelInfer(request(pb), metadata=metadata).outputs[0].name == "fc7"
        asked = pb.RepositoryModelLoadRequest(model_name="zfnet-64")
        code, _ = refused(lambda: stub.RepositoryModelLoad(asked, metadata=metadata))
        assert code is CODE.PERMISSION_DENIED
