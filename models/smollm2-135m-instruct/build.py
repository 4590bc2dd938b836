"""Builds model.onnx, tokenizer.json and chat_template.jinja of SmolLM2-135M-Instruct from its GGUF file.

The package that carries the weights has them for llama.cpp: matrices in 4 bits (Q4_1), the embedding in 8
(Q8_0). The network is a small and well-known Llama, so this script writes the graph itself; numpy and onnx are
all it needs.

What the graph adds to a plain decoder:

* attention by ``GroupQueryAttention`` of ONNX Runtime, whose past and present keys and values may be one and
  the same memory, so that nothing is copied from token to token;
* logits only where they are wanted (``last_pos``): the vocabulary is the dearest matrix, and a prompt needs it once.

Inputs  input_ids int64 [batch, seq]; seqlens_k int32 [batch], tokens of each row less one; total_sequence_length
        int32, the most tokens of a row; last_pos int64 [batch, wanted]; past_key_values.N.key and .value
        [batch, heads, past, size]
Outputs logits float32 [batch, wanted, vocabulary]; present.N.key and .value

Variants:

* ``fp32``: every weight in 32 bits. The fastest for several texts at a time.
* ``q4c``: matrices stay in 4 bits. Q4_1 has a least value for each block, which the runtime's 4-bit product does
  not know; it is added as a product of its own with the sums of the blocks. Less memory, and faster for one text.
* ``fp16``: 16 bits, for CUDA.

The same input gives the same bytes: nothing here depends on time, paths or hash order. Every setting that the
graph relies on is checked; what does not fit stops the build with one line that says what.

    python build.py FOLDER_WITH_WEIGHTS OUTPUT.onnx [--variant fp32]
"""

import argparse
import json
import os
import struct
import sys
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 21
IR_VERSION = 10
FUSED = "com.microsoft"
VARIANTS = ("fp32", "q4c", "fp16")
WEIGHTS = "model.gguf"

# Positions in the tables of rotation. `context` of model.toml must not be above it.
POSITIONS = 2048
# Weights of a block of Q4_1 and Q8_0.
BLOCK = 32

# The graph below is right for these settings only; another value means another model.
EXPECTED = {
    "general.architecture": "llama",
    "llama.block_count": 30,
    "llama.embedding_length": 576,
    "llama.feed_forward_length": 1536,
    "llama.attention.head_count": 9,
    "llama.attention.head_count_kv": 3,
    "llama.rope.dimension_count": 64,
    "llama.rope.freq_base": 100000.0,
    "llama.vocab_size": 49152,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
}
LAYERS, WIDTH, INNER, HEADS, KV_HEADS, HEAD = 30, 576, 1536, 9, 3, 64
VOCABULARY = 49152

F32, Q4_1, Q8_0 = 0, 3, 8
BLOCK_BYTES = {Q4_1: 20, Q8_0: 34}
# Types of GGUF's values; 8 is a text and 9 a list.
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
SPECIAL = 3


class BuildError(Exception):
    """The weights are not those that this script was written for."""


class Gguf:
    """A GGUF file: settings, then the names, shapes and places of tensors, then their data."""

    def __init__(self, path: Path) -> None:
        self._data = path.read_bytes()
        self._at = 0
        if self._take("4s") != b"GGUF" or self._take("I") != 3:
            raise BuildError(f"{path.name} is no GGUF file of version 3")
        tensors, settings = self._take("Q"), self._take("Q")
        self.settings = {self._text(): self._value(self._take("I")) for _ in range(settings)}
        self._tensors = {}
        for _ in range(tensors):
            name = self._text()
            shape = [self._take("Q") for _ in range(self._take("I"))]
            self._tensors[name] = (shape[::-1], self._take("I"), self._take("Q"))
        alignment = self.settings.get("general.alignment", 32)
        self._start = -(-self._at // alignment) * alignment

    def _take(self, form: str):
        (value,) = struct.unpack_from("<" + form, self._data, self._at)
        self._at += struct.calcsize("<" + form)
        return value

    def _text(self) -> str:
        length = self._take("Q")
        self._at += length
        return self._data[self._at - length : self._at].decode("utf-8")

    def _value(self, kind: int):
        if kind == 8:
            return self._text()
        if kind == 9:
            kind, count = self._take("I"), self._take("Q")
            return [self._value(kind) for _ in range(count)]
        return self._take(SCALARS[kind])

    def _place(self, name: str, kind: int, shape: Tuple[int, ...]) -> int:
        found = self._tensors.get(name)
        if found is None or found[:2] != (list(shape), kind):
            raise BuildError(f"tensor {name} is {found and found[:2]}; expected {list(shape)} of type {kind}")
        return self._start + found[2]

    def _blocks(self, name: str, kind: int, rows: int, columns: int) -> np.ndarray:
        count, start = rows * columns // BLOCK, self._place(name, kind, (rows, columns))
        data = np.frombuffer(self._data, np.uint8, count * BLOCK_BYTES[kind], start)
        return data.reshape(rows, columns // BLOCK, BLOCK_BYTES[kind])

    def vector(self, name: str, size: int) -> np.ndarray:
        return np.frombuffer(self._data, np.float32, size, self._place(name, F32, (size,)))

    def four_bits(self, name: str, rows: int, columns: int) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scales, least values and numbers from 0 to 15 of a matrix, by blocks."""
        blocks = self._blocks(name, Q4_1, rows, columns)
        packed = blocks[..., 4:]
        numbers = np.concatenate([packed & 15, packed >> 4], axis=-1)
        return half(blocks[..., 0:2]), half(blocks[..., 2:4]), numbers

    def eight_bits(self, name: str, rows: int, columns: int) -> Tuple[np.ndarray, np.ndarray]:
        """Scales and numbers from -128 to 127 of a matrix, by blocks."""
        blocks = self._blocks(name, Q8_0, rows, columns)
        return half(blocks[..., 0:2]), blocks[..., 2:].view(np.int8)


def half(data: np.ndarray) -> np.ndarray:
    """Two bytes of each block as a number."""
    return np.ascontiguousarray(data).view(np.float16)[..., 0].astype(np.float32)


class Graph:
    """Nodes and constants in the order they were added. Each method returns the name of what it added."""

    def __init__(self, variant: str) -> None:
        self.variant = variant
        self.nodes: List[onnx.NodeProto] = []
        self.constants: List[onnx.TensorProto] = []

    @property
    def element(self) -> int:
        return TensorProto.FLOAT16 if self.variant == "fp16" else TensorProto.FLOAT

    def constant(self, name: str, values: np.ndarray) -> str:
        if self.variant == "fp16" and values.dtype == np.float32:
            values = values.astype(np.float16)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, operator: str, inputs: List[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def fused(self, operator: str, inputs: List[str], outputs: List[str], **attributes) -> str:
        node = helper.make_node(operator, inputs, outputs, name=outputs[0], domain=FUSED, **attributes)
        self.nodes.append(node)
        return outputs[0]


def half_split(heads: int) -> np.ndarray:
    """The order of rows in which a head's halves turn together; the file has pairs side by side."""
    return np.arange(heads * HEAD).reshape(heads, HEAD // 2, 2).swapaxes(1, 2).reshape(-1)


def sums(graph: Graph, values: str, width: int, name: str) -> Optional[str]:
    """Sums of the blocks of a matrix product's input, where its least values need them."""
    if graph.variant != "q4c":
        return None
    shape = f"shape.blocks.{width}"
    if shape not in {constant.name for constant in graph.constants}:
        graph.constant(shape, np.array([0, 0, width // BLOCK, BLOCK], np.int64))
    blocks = graph.node("Reshape", [values, shape], f"{name}.blocks")
    return graph.node("ReduceSum", [blocks, "axis.last"], f"{name}.sums", keepdims=0)


def linear(
    graph: Graph, weights: Gguf, source: str, inputs: Tuple[str, Optional[str]], shape: Tuple[int, int], heads: int = 0
) -> str:
    """A matrix product. `heads`: its rows are those of rotated heads."""
    (rows, columns), (values, block_sums) = shape, inputs
    scale, least, numbers = weights.four_bits(f"{source}.weight", rows, columns)
    if heads:
        order = half_split(heads)
        scale, least, numbers = scale[order], least[order], numbers[order]
    if graph.variant != "q4c":
        matrix = (scale[..., None] * numbers + least[..., None]).reshape(rows, columns)
        return graph.node("MatMul", [values, graph.constant(source, matrix.T)], f"{source}.out")
    packed = (numbers[..., 0::2] | (numbers[..., 1::2] << 4)).astype(np.uint8)
    constants = [graph.constant(f"{source}.numbers", packed), graph.constant(f"{source}.scale", scale)]
    settings = {"K": columns, "N": rows, "bits": 4, "block_size": BLOCK, "accuracy_level": 0}
    product = graph.fused("MatMulNBits", [values, *constants], [f"{source}.product"], **settings)
    # The product takes 8 for the zero of every block.
    rest = graph.constant(f"{source}.least", (least + 8 * scale).T)
    added = graph.node("MatMul", [block_sums, rest], f"{source}.added")
    return graph.node("Add", [product, added], f"{source}.out")


def embedding(graph: Graph, weights: Gguf) -> Tuple[str, np.ndarray]:
    """The embedded tokens, and the table, which is that of the logits, too."""
    scale, numbers = weights.eight_bits("token_embd.weight", VOCABULARY, WIDTH)
    table = (scale[..., None] * numbers).reshape(VOCABULARY, WIDTH).astype(np.float32)
    if graph.variant != "q4c":
        return graph.node("Gather", [graph.constant("embedding", table), "input_ids"], "embedded"), table
    shifted = (numbers.astype(np.int16) + 128).astype(np.uint8).reshape(VOCABULARY, WIDTH)
    constants = [graph.constant("embedding.numbers", shifted), "input_ids", graph.constant("embedding.scale", scale)]
    settings = {"gather_axis": 0, "quantize_axis": 1, "block_size": BLOCK, "bits": 8}
    return graph.fused("GatherBlockQuantized", constants, ["embedded"], **settings), table


def add_and_norm(graph: Graph, weights: Gguf, branch: str, trunk: str, source: str) -> Tuple[str, str]:
    """Adds a branch to the trunk; returns the sum's norm and the sum."""
    scale = graph.constant(source, weights.vector(f"{source}.weight", WIDTH))
    outputs = [f"{source}.out", "", "", f"{source}.sum"]
    graph.fused("SkipSimplifiedLayerNormalization", [branch, trunk, scale], outputs, epsilon=epsilon(weights))
    return outputs[0], outputs[3]


def epsilon(weights: Gguf) -> float:
    return float(weights.settings["llama.attention.layer_norm_rms_epsilon"])


def attention(graph: Graph, weights: Gguf, layer: int, hidden: str) -> str:
    """Self-attention of one layer, up to and including the output projection."""
    source, name = f"blk.{layer}", f"layer{layer}.attention"
    inputs = (hidden, sums(graph, hidden, WIDTH, name))
    wide, narrow = (HEADS * HEAD, WIDTH), (KV_HEADS * HEAD, WIDTH)
    parts = [
        linear(graph, weights, f"{source}.attn_q", inputs, wide, HEADS),
        linear(graph, weights, f"{source}.attn_k", inputs, narrow, KV_HEADS),
        linear(graph, weights, f"{source}.attn_v", inputs, narrow),
    ]
    past = [f"past_key_values.{layer}.{kind}" for kind in ("key", "value")]
    present = [f"present.{layer}.{kind}" for kind in ("key", "value")]
    attended = graph.fused(
        "GroupQueryAttention",
        [*parts, *past, "seqlens_k", "total_sequence_length", "cos", "sin"],
        [name, *present],
        num_heads=HEADS,
        kv_num_heads=KV_HEADS,
        do_rotary=1,
        rotary_interleaved=0,
        scale=float(HEAD**-0.5),
    )
    attended = (attended, sums(graph, attended, WIDTH, f"{name}.out"))
    return linear(graph, weights, f"{source}.attn_output", attended, (WIDTH, WIDTH))


def feed_forward(graph: Graph, weights: Gguf, layer: int, hidden: str) -> str:
    """The gated perceptron of one layer."""
    source, name = f"blk.{layer}", f"layer{layer}.feed_forward"
    inputs = (hidden, sums(graph, hidden, WIDTH, name))
    gate = linear(graph, weights, f"{source}.ffn_gate", inputs, (INNER, WIDTH))
    up = linear(graph, weights, f"{source}.ffn_up", inputs, (INNER, WIDTH))
    open_gate = graph.node("Mul", [gate, graph.node("Sigmoid", [gate], f"{name}.sigmoid")], f"{name}.open")
    gated = graph.node("Mul", [open_gate, up], f"{name}.gated")
    return linear(graph, weights, f"{source}.ffn_down", (gated, sums(graph, gated, INNER, f"{name}.down")), (WIDTH, INNER))


def logits(graph: Graph, hidden: str, table: np.ndarray) -> None:
    """The logits that follow the wanted tokens."""
    place = graph.node("Unsqueeze", ["last_pos", "axis.last"], "wanted.column")
    width = graph.constant("shape.width", np.array([1, 1, WIDTH], np.int64))
    place = graph.node("Expand", [place, width], "wanted.place")
    wanted = graph.node("GatherElements", [hidden, place], "wanted", axis=1)
    matrix = graph.constant("head", table.T)
    if graph.variant == "fp16":
        graph.node("MatMul", [wanted, matrix], "logits.half")
        graph.node("Cast", ["logits.half"], "logits", to=TensorProto.FLOAT)
    else:
        graph.node("MatMul", [wanted, matrix], "logits")


def rotation(graph: Graph) -> None:
    """Cosine and sine of each position."""
    speed = 1.0 / EXPECTED["llama.rope.freq_base"] ** (np.arange(0, HEAD, 2, dtype=np.float64) / HEAD)
    angle = np.outer(np.arange(POSITIONS), speed)
    graph.constant("cos", np.cos(angle).astype(np.float32))
    graph.constant("sin", np.sin(angle).astype(np.float32))


def build(weights: Gguf, variant: str) -> onnx.ModelProto:
    graph = Graph(variant)
    graph.constant("axis.last", np.array([-1], np.int64))
    rotation(graph)
    trunk, table = embedding(graph, weights)
    scale = graph.constant("blk.0.attn_norm", weights.vector("blk.0.attn_norm.weight", WIDTH))
    settings = {"axis": -1, "epsilon": epsilon(weights), "stash_type": 1}
    hidden = graph.node("SimplifiedLayerNormalization", [trunk, scale], "blk.0.attn_norm.out", **settings)
    for layer in range(LAYERS):
        branch = attention(graph, weights, layer, hidden)
        hidden, trunk = add_and_norm(graph, weights, branch, trunk, f"blk.{layer}.ffn_norm")
        branch = feed_forward(graph, weights, layer, hidden)
        after = f"blk.{layer + 1}.attn_norm" if layer + 1 < LAYERS else "output_norm"
        hidden, trunk = add_and_norm(graph, weights, branch, trunk, after)
    logits(graph, hidden, table)
    return model(graph)


def model(graph: Graph) -> onnx.ModelProto:
    info = helper.make_tensor_value_info
    inputs = [
        info("input_ids", TensorProto.INT64, ["batch", "seq"]),
        info("seqlens_k", TensorProto.INT32, ["batch"]),
        info("total_sequence_length", TensorProto.INT32, []),
        info("last_pos", TensorProto.INT64, ["batch", "wanted"]),
    ]
    outputs = [info("logits", TensorProto.FLOAT, ["batch", "wanted", VOCABULARY])]
    for layer in range(LAYERS):
        for kind in ("key", "value"):
            shape = lambda tokens: ["batch", KV_HEADS, tokens, HEAD]
            inputs.append(info(f"past_key_values.{layer}.{kind}", graph.element, shape("past")))
            outputs.append(info(f"present.{layer}.{kind}", graph.element, shape("total")))
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(FUSED, 1)]
    return helper.make_model(
        helper.make_graph(graph.nodes, "SmolLM2-135M-Instruct", inputs, outputs, graph.constants),
        opset_imports=opsets,
        ir_version=IR_VERSION,
        producer_name="brink",
    )


def tokenizer(settings: Dict) -> Dict:
    """What the `tokenizers` library reads. Digits are split one by one, then GPT-2's byte-level pattern cuts."""
    tokens, kinds = settings["tokenizer.ggml.tokens"], settings["tokenizer.ggml.token_type"]
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": place, "content": token, **special}
            for place, token in enumerate(tokens)
            if kinds[place] == SPECIAL
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {**byte_level, "add_prefix_space": False},
            ],
        },
        "post_processor": None,
        "decoder": {**byte_level, "add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: place for place, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in settings["tokenizer.ggml.merges"]],
        },
    }


def write(path: Path, data: bytes) -> None:
    """A reader sees the whole file or none."""
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_bytes(data)
    os.replace(unfinished, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, help=f"folder with {WEIGHTS}; the tokenizer is written there, too")
    parser.add_argument("output", type=Path, help="the ONNX file to write")
    parser.add_argument("--variant", choices=VARIANTS, default=VARIANTS[0], help="how weights are kept")
    arguments = parser.parse_args()

    weights = Gguf(arguments.weights / WEIGHTS)
    for key, expected in EXPECTED.items():
        if weights.settings.get(key) != expected:
            raise BuildError(f"{key} is {weights.settings.get(key)!r}; expected {expected!r}")
    text = json.dumps(tokenizer(weights.settings), ensure_ascii=False)
    write(arguments.weights / "tokenizer.json", text.encode("utf-8"))
    template = weights.settings["tokenizer.chat_template"]
    write(arguments.weights / "chat_template.jinja", template.encode("utf-8"))
    built = build(weights, arguments.variant)
    # Not checked by onnx: it does not know SimplifiedLayerNormalization, which only ONNX Runtime has.
    write(arguments.output, built.SerializeToString(deterministic=True))
    size = arguments.output.stat().st_size
    print(f"built {arguments.output} ({arguments.variant}): {len(built.graph.node)} nodes, {size} bytes")


if __name__ == "__main__":
    try:
        main()
    except (BuildError, OSError) as error:
        sys.exit(f"build.py: {error}")
