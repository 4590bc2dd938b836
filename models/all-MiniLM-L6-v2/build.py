"""Builds model.onnx of all-MiniLM-L6-v2 from its published weights.

The package that carries the weights has no ONNX file, and exporting one needs a multi-gigabyte framework. The
network is small and well known, so this script writes the graph itself; numpy and onnx are all it needs.

What the graph adds to a plain BERT encoder:

* mean pooling over the real tokens and L2 normalisation, so the host gets finished vectors and nothing is
  computed twice in two languages;
* the fused operators of ONNX Runtime (domain ``com.microsoft``), which run this encoder about as fast as the
  runtime can, on a CPU and on CUDA.

Inputs  input_ids, attention_mask, token_type_ids: int64 [batch, sequence]
Output  sentence_embedding: float32 [batch, 384], each row of length 1

The same input gives the same bytes: nothing here depends on time, paths or hash order. Every weight and every
setting that the graph relies on is checked; what does not fit stops the build with one line that says what.

    python build.py FOLDER_WITH_WEIGHTS OUTPUT.onnx
"""

import argparse
import json
import os
import struct
import sys
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
FUSED = "com.microsoft"

# The graph below is right for these settings only; another value means another model.
EXPECTED_CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "hidden_size": 384,
    "intermediate_size": 1536,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "vocab_size": 30522,
}


class BuildError(Exception):
    """The weights are not those that this script was written for."""


class Weights:
    """The tensors of a .safetensors file: eight bytes of header length, a JSON header, then raw data."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        (header_length,) = struct.unpack_from("<Q", data)
        start = 8 + header_length
        self._header = json.loads(data[8:start])
        self._body = memoryview(data)[start:]

    def take(self, name: str, *shape: int) -> np.ndarray:
        """Returns one float32 tensor, which must have exactly this shape."""
        if name not in self._header:
            raise BuildError(f"the weights have no tensor {name}")
        entry = self._header[name]
        if entry["dtype"] != "F32" or tuple(entry["shape"]) != shape:
            found = f"{entry['dtype']} {entry['shape']}"
            raise BuildError(f"tensor {name} is {found}; expected F32 {list(shape)}")
        begin, end = entry["data_offsets"]
        return np.frombuffer(self._body[begin:end], np.float32).reshape(shape)


class Graph:
    """Nodes and constants in the order they were added. Each method returns the name of what it added."""

    def __init__(self) -> None:
        self.nodes: List[onnx.NodeProto] = []
        self.constants: List[onnx.TensorProto] = []

    def constant(self, name: str, values: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, operator: str, inputs: List[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def fused(self, operator: str, inputs: List[str], outputs: List[str], **attributes) -> str:
        node = helper.make_node(operator, inputs, outputs, name=outputs[0], domain=FUSED, **attributes)
        self.nodes.append(node)
        return outputs[0]


def read_config(path: Path) -> Dict:
    config = json.loads(path.read_text(encoding="utf-8"))
    for key, expected in EXPECTED_CONFIG.items():
        if config.get(key) != expected:
            raise BuildError(f"{path.name}: {key} is {config.get(key)!r}; expected {expected!r}")
    return config


def norm(graph: Graph, weights: Weights, prefix: str, name: str, width: int) -> List[str]:
    """Scale and shift of one layer normalisation."""
    return [
        graph.constant(f"{name}.scale", weights.take(f"{prefix}.weight", width)),
        graph.constant(f"{name}.shift", weights.take(f"{prefix}.bias", width)),
    ]


def embeddings(graph: Graph, weights: Weights, config: Dict) -> Tuple[str, str]:
    """Word, position and segment embeddings, added and normalised. Returns them and the int32 mask."""
    width = config["hidden_size"]
    tables = [
        ("word", config["vocab_size"]),
        ("position", config["max_position_embeddings"]),
        ("token_type", config["type_vocab_size"]),
    ]
    # The fused operators read int32; the clients of the graph have int64, as every BERT export does.
    ids, mask, segments = (
        graph.node("Cast", [name], f"{name}.int32", to=TensorProto.INT32)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    constants = [
        graph.constant(f"embeddings.{name}", weights.take(f"embeddings.{name}_embeddings.weight", rows, width))
        for name, rows in tables
    ]
    constants += norm(graph, weights, "embeddings.LayerNorm", "embeddings.norm", width)
    hidden = graph.fused(
        "EmbedLayerNormalization",
        [ids, segments, *constants],
        # The second output is required by the operator; nothing reads it.
        ["embeddings", "embeddings.mask_index"],
        epsilon=config["layer_norm_eps"],
    )
    return hidden, mask


def attention(graph: Graph, weights: Weights, config: Dict, layer: int, hidden: str, mask: str) -> str:
    """Self-attention of one layer, up to and including the output projection, without its bias."""
    width = config["hidden_size"]
    source, name = f"encoder.layer.{layer}.attention", f"layer{layer}.attention"
    parts = [f"{source}.self.{part}" for part in ("query", "key", "value")]
    # One matrix product for query, key and value; the fused operator wants them side by side.
    matrix = np.concatenate([weights.take(f"{part}.weight", width, width).T for part in parts], axis=1)
    bias = np.concatenate([weights.take(f"{part}.bias", width) for part in parts])
    attended = graph.fused(
        "Attention",
        [hidden, graph.constant(f"{name}.qkv", matrix), graph.constant(f"{name}.qkv_bias", bias), mask],
        [name],
        num_heads=config["num_attention_heads"],
    )
    projection = weights.take(f"{source}.output.dense.weight", width, width).T
    return graph.node("MatMul", [attended, graph.constant(f"{name}.out", projection)], f"{name}.projected")


def feed_forward(graph: Graph, weights: Weights, config: Dict, layer: int, hidden: str) -> str:
    """The two-layer perceptron of one layer, without the bias of its second half."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    source, name = f"encoder.layer.{layer}", f"layer{layer}.feed_forward"
    up = graph.constant(f"{name}.up", weights.take(f"{source}.intermediate.dense.weight", inner, width).T)
    bias = graph.constant(f"{name}.up_bias", weights.take(f"{source}.intermediate.dense.bias", inner))
    down = graph.constant(f"{name}.down", weights.take(f"{source}.output.dense.weight", width, inner).T)
    raised = graph.node("MatMul", [hidden, up], f"{name}.raised")
    active = graph.fused("BiasGelu", [raised, bias], [f"{name}.active"])
    return graph.node("MatMul", [active, down], f"{name}.lowered")


def add_and_norm(
    graph: Graph, weights: Weights, config: Dict, source: str, branch: str, trunk: str, name: str
) -> str:
    """Adds a branch, with the bias of its last projection, to the trunk, and normalises the sum."""
    width = config["hidden_size"]
    constants = norm(graph, weights, f"{source}.LayerNorm", f"{name}.norm", width)
    bias = graph.constant(f"{name}.bias", weights.take(f"{source}.dense.bias", width))
    inputs = [branch, trunk, *constants, bias]
    return graph.fused("SkipLayerNormalization", inputs, [name], epsilon=config["layer_norm_eps"])


def encoder_layer(graph: Graph, weights: Weights, config: Dict, layer: int, hidden: str, mask: str) -> str:
    source = f"encoder.layer.{layer}"
    branch = attention(graph, weights, config, layer, hidden, mask)
    attention_output = f"{source}.attention.output"
    hidden = add_and_norm(graph, weights, config, attention_output, branch, hidden, f"layer{layer}.attended")
    branch = feed_forward(graph, weights, config, layer, hidden)
    return add_and_norm(graph, weights, config, f"{source}.output", branch, hidden, f"layer{layer}")


def pool(graph: Graph, hidden: str) -> str:
    """Mean over the real tokens, then unit length."""
    last_axis = graph.constant("axis.last", np.array([2], np.int64))
    token_axis = graph.constant("axis.tokens", np.array([1], np.int64))
    one = graph.constant("one", np.array([[1.0]], np.float32))
    mask = graph.node("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
    mask_column = graph.node("Unsqueeze", [mask, last_axis], "mask.column")
    real = graph.node("Mul", [hidden, mask_column], "tokens.real")
    total = graph.node("ReduceSum", [real, token_axis], "tokens.sum", keepdims=0)
    counted = graph.node("ReduceSum", [mask, token_axis], "tokens.counted", keepdims=1)
    # A row without a real token, which fills up a batch of fixed size, gives zeros and not NaN.
    count = graph.node("Max", [counted, one], "tokens.count")
    mean = graph.node("Div", [total, count], "mean")
    return graph.node("LpNormalization", [mean], "sentence_embedding", axis=1, p=2)


def build(weights: Weights, config: Dict) -> onnx.ModelProto:
    graph = Graph()
    hidden, mask = embeddings(graph, weights, config)
    for layer in range(config["num_hidden_layers"]):
        hidden = encoder_layer(graph, weights, config, layer, hidden, mask)
    output = pool(graph, hidden)

    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", config["hidden_size"]])]
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(FUSED, 1)]
    return helper.make_model(
        helper.make_graph(graph.nodes, "all-MiniLM-L6-v2", inputs, outputs, graph.constants),
        opset_imports=opsets,
        ir_version=IR_VERSION,
        producer_name="brink",
    )


def save(model: onnx.ModelProto, path: Path) -> None:
    """Checks the model and writes it; a reader sees the whole file or none."""
    onnx.checker.check_model(model)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_bytes(model.SerializeToString(deterministic=True))
    os.replace(unfinished, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, help="folder with model.safetensors and config.json")
    parser.add_argument("output", type=Path, help="the ONNX file to write")
    arguments = parser.parse_args()

    config = read_config(arguments.weights / "config.json")
    weights = Weights(arguments.weights / "model.safetensors")
    model = build(weights, config)
    save(model, arguments.output)
    print(f"built {arguments.output}: {len(model.graph.node)} nodes, {arguments.output.stat().st_size} bytes")


if __name__ == "__main__":
    try:
        main()
    except (BuildError, OSError) as error:
        sys.exit(f"build.py: {error}")
