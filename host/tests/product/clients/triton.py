"""The official client of Triton and KServe, unmodified: ADDRESS, reference of the embeddings, folder of models."""

import json
import sys

import numpy as np
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

address, reference, models = sys.argv[1:]
data = json.load(open(reference))
EMBEDDING = "all-MiniLM-L6-v2"
client = http.InferenceServerClient(address)

assert client.is_server_live() and client.is_server_ready()
assert client.get_server_metadata()["name"] == "brink"
assert client.is_model_ready(EMBEDDING) and client.is_model_ready(EMBEDDING, "1")
assert not client.is_model_ready("no-such-model")
assert EMBEDDING in [model["name"] for model in client.get_model_repository_index()]
metadata = client.get_model_metadata(EMBEDDING)
assert metadata["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}], metadata
assert metadata["outputs"] == [{"name": "embedding", "datatype": "FP32", "shape": [-1, 384]}], metadata


def infer(model, name, array, output, binary=True, **options):
    datatype = {"O": "BYTES", "i": "INT64", "f": "FP32"}[array.dtype.kind]
    tensor = http.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    wanted = http.InferRequestedOutput(output, binary_data=binary)
    answer = client.infer(model, [tensor], outputs=[wanted], request_id="seven", **options)
    assert answer.get_response()["id"] == "seven"
    assert answer.get_response()["model_name"] == model
    return answer.as_numpy(output)


texts = np.array([text.encode() for text in data["sentences"]], dtype=np.object_)
expected = np.array(data["emb"])
for options in [{}, {"binary": False}, {"model_version": "1"}, {"request_compression_algorithm": "gzip"}]:
    vectors = infer(EMBEDDING, "text", texts, "embedding", **options)
    assert vectors.shape == (len(texts), 384), vectors.shape
    assert vectors.dtype == np.float32
    cosines = (vectors * expected).sum(axis=1)
    assert cosines.min() >= 0.99999, (options, cosines)

for model, name in [("efficientnet-lite0", "image"), ("magika", "file")]:
    known = json.load(open(f"{models}/{model}/reference/reference.json"))["inputs"][:6]
    files = [open(f"{models}/{model}/reference/{case['file']}", "rb").read() for case in known]
    scores = infer(model, name, np.array(files, dtype=np.object_), "scores")
    for row, case in zip(scores, known, strict=True):
        for top in case["top"]:
            assert abs(row[top["class"]] - top["score"]) < 0.01, (case["file"], top)


def refused(status, part, call):
    try:
        call()
    except InferenceServerException as error:
        assert str(error.status()) == str(status), (error.status(), error.message())
        assert part in error.message(), error.message()
    else:
        raise SystemExit(f"not refused: {part}")


refused(404, "no-such-model", lambda: infer("no-such-model", "text", texts, "embedding"))
refused(404, "version", lambda: infer(EMBEDDING, "text", texts, "embedding", model_version="9"))
refused(400, "text", lambda: infer(EMBEDDING, "words", texts, "embedding"))
refused(400, "vector", lambda: infer(EMBEDDING, "text", texts, "vector"))
refused(400, "BYTES", lambda: infer(EMBEDDING, "text", np.zeros((2,), np.float32), "embedding"))
refused(415, "picture", lambda: infer("efficientnet-lite0", "image", np.array([b"none"], dtype=np.object_), "scores"))
