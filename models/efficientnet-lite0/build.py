"""Builds model.onnx of EfficientNet-Lite0 from its published weights.

The package that carries the weights has no ONNX file, and exporting one needs a multi-gigabyte framework. The
network is a plain chain of convolutions, so this script writes the graph itself; numpy and onnx are all it needs.

What the graph does to the network as it was trained:

* each batch normalisation is folded into the convolution before it, which is what every runtime would do at
  start, and halves the number of nodes;
* "same" padding, which depends on the size of the input, becomes numbers, because the size is fixed;
* a softmax ends it, so the host gets probabilities and nothing is computed twice in two languages.

Input   image: float32 [batch, 3, 224, 224], red, green and blue, each (value - 127) / 128
Output  probabilities: float32 [batch, 1000], each row with sum 1, in the order of ImageNet's classes

The weights are a pickle, which may name any function to be called. Here it may name those few that rebuild a
tensor, and they are our own; any other name stops the build.

The same input gives the same bytes: nothing here depends on time, paths or hash order. Every weight that the
graph relies on is checked; what does not fit stops the build with one line that says what.

    python build.py FOLDER_WITH_WEIGHTS OUTPUT.onnx
"""

import argparse
import io
import os
import pickle
import struct
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8

SIZE = 224
CLASSES = 1000

STEM_CHANNELS = 32
HEAD_CHANNELS = 1280
# What the network was trained with; the weights do not say.
NORM_EPSILON = 1e-3


class Stage(NamedTuple):
    """Blocks of one shape, one after the other."""

    repeats: int
    kernel: int
    # Of the first block only.
    stride: int
    # Channels inside a block, as a multiple of those that enter it.
    expansion: int
    channels: int


STAGES = [
    Stage(repeats=1, kernel=3, stride=1, expansion=1, channels=16),
    Stage(repeats=2, kernel=3, stride=2, expansion=6, channels=24),
    Stage(repeats=2, kernel=5, stride=2, expansion=6, channels=40),
    Stage(repeats=3, kernel=3, stride=2, expansion=6, channels=80),
    Stage(repeats=3, kernel=5, stride=1, expansion=6, channels=112),
    Stage(repeats=4, kernel=5, stride=2, expansion=6, channels=192),
    Stage(repeats=1, kernel=3, stride=1, expansion=6, channels=320),
]


class BuildError(Exception):
    """The weights are not those that this script was written for."""


class Slice(NamedTuple):
    """A tensor as the pickle describes it: a view of a storage, counted in elements."""

    storage: str
    kind: str
    offset: int
    shape: Tuple[int, ...]
    strides: Tuple[int, ...]


def rebuild_slice(storage, offset, shape, strides, *_gradient) -> Slice:
    """Stands in for the function that makes a tensor."""
    name, kind = storage
    return Slice(name, kind, offset, tuple(shape), tuple(strides))


class RestrictedUnpickler(pickle.Unpickler):
    """Reads a pickle that may name nothing but this list."""

    ALLOWED = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): rebuild_slice,
        ("torch", "FloatStorage"): "float32",
        # Counts of training steps; nothing reads them.
        ("torch", "LongStorage"): "int64",
    }

    def find_class(self, module: str, name: str):
        if (module, name) not in self.ALLOWED:
            raise BuildError(f"the weights ask for {module}.{name}, which is not allowed")
        return self.ALLOWED[module, name]

    def persistent_load(self, reference) -> Tuple[str, str]:
        """A storage: its name and the kind of its numbers."""
        _, kind, name, *_ = reference
        return name, kind


class Weights:
    """The tensors of a .pth file of PyTorch before 1.6: five pickles, then every storage in turn.

    The pickles are a magic number, a version, a description of the machine, the tensors, and the order of the
    storages. Each storage is eight bytes of length, in elements, and raw data.
    """

    MAGIC = 0x1950A86A20F9469CFC6C
    VERSION = 1001

    def __init__(self, path: Path) -> None:
        file = io.BytesIO(path.read_bytes())
        magic, version, machine, slices, order = (self._unpickle(file) for _ in range(5))
        if magic != self.MAGIC or version != self.VERSION or machine.get("little_endian") is not True:
            raise BuildError(f"{path.name} is not a little-endian file of PyTorch before 1.6")
        self._slices: Dict[str, Slice] = slices
        kinds = {entry.storage: entry.kind for entry in slices.values()}
        if sorted(kinds) != sorted(order):
            raise BuildError(f"{path.name} does not list the storages that its tensors use")
        self._storages = {name: self._read_storage(file, kinds[name]) for name in order}

    @staticmethod
    def _unpickle(file: io.BytesIO):
        try:
            return RestrictedUnpickler(file).load()
        except (pickle.UnpicklingError, EOFError, ValueError, TypeError) as error:
            raise BuildError(f"the weights cannot be read: {error}") from error

    @staticmethod
    def _read_storage(file: io.BytesIO, kind: str) -> np.ndarray:
        element = np.dtype(kind).newbyteorder("<")
        header = file.read(8)
        length = struct.unpack("<q", header)[0] * element.itemsize if len(header) == 8 else -1
        data = file.read(max(length, 0))
        if len(data) != length:
            raise BuildError("the weights end early")
        return np.frombuffer(data, element)

    def __contains__(self, name: str) -> bool:
        return name in self._slices

    def shape(self, name: str) -> Tuple[int, ...]:
        return self._slices[name].shape

    def take(self, name: str, *shape: int) -> np.ndarray:
        """Returns one tensor, which must be float32 and have exactly this shape."""
        if name not in self:
            raise BuildError(f"the weights have no tensor {name}")
        entry = self._slices[name]
        if entry.kind != "float32" or entry.shape != shape:
            raise BuildError(f"tensor {name} is {entry.kind} {list(entry.shape)}; expected float32 {list(shape)}")
        storage = self._storages[entry.storage][entry.offset :]
        last = sum((extent - 1) * stride for extent, stride in zip(shape, entry.strides))
        if min(entry.strides) < 0 or last >= storage.size:
            raise BuildError(f"tensor {name} reaches beyond its storage")
        steps = [stride * storage.itemsize for stride in entry.strides]
        return np.lib.stride_tricks.as_strided(storage, shape, steps, writeable=False)


class Graph:
    """Nodes and constants in the order they were added. Each method returns the name of what it added."""

    def __init__(self) -> None:
        self.nodes: List[onnx.NodeProto] = []
        self.constants: List[onnx.TensorProto] = []

    def constant(self, name: str, values: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    def node(self, operator: str, inputs: List[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output


class Shape(NamedTuple):
    """What flows between two layers."""

    channels: int
    # Height, and width.
    size: int


def same_padding(size: int, kernel: int, stride: int) -> List[int]:
    """Zeros before and after, for height and width, so that ``ceil(size / stride)`` values come out.

    An odd number of them puts the larger half behind, as TensorFlow does, where the network was trained.
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    before = total // 2
    return [before, before, total - before, total - before]


def folded(weights: Weights, convolution: str, norm: str, shape: Tuple[int, ...]) -> Tuple[np.ndarray, np.ndarray]:
    """Weight and bias of a convolution that does the work of the normalisation after it, too."""
    weight = weights.take(f"{convolution}.weight", *shape).astype(np.float64)
    scale, shift, mean, variance = (
        weights.take(f"{norm}.{part}", shape[0]).astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    factor = scale / np.sqrt(variance + NORM_EPSILON)
    return weight * factor[:, None, None, None], shift - mean * factor


class Convolution(NamedTuple):
    """One convolution with its normalisation, by the names that the weights have for them."""

    source: str
    norm: str
    channels: int
    kernel: int = 1
    stride: int = 1
    # Each channel by itself, instead of all with all.
    depthwise: bool = False
    # Ends in the activation of this network, ReLU6.
    active: bool = True


def convolve(graph: Graph, weights: Weights, layer: Convolution, entering: str, shape: Shape) -> Tuple[str, Shape]:
    name = layer.source.lstrip("_").replace("._", ".")
    read = 1 if layer.depthwise else shape.channels
    weight, bias = folded(
        weights, layer.source, layer.norm, (layer.channels, read, layer.kernel, layer.kernel)
    )
    output = graph.node(
        "Conv",
        [entering, graph.constant(f"{name}.weight", weight), graph.constant(f"{name}.bias", bias)],
        name,
        kernel_shape=[layer.kernel] * 2,
        strides=[layer.stride] * 2,
        pads=same_padding(shape.size, layer.kernel, layer.stride),
        group=shape.channels if layer.depthwise else 1,
    )
    if layer.active:
        output = graph.node("Clip", [output, "zero", "six"], f"{name}.active")
    return output, Shape(layer.channels, -(-shape.size // layer.stride))


def block(
    graph: Graph, weights: Weights, prefix: str, stage: Stage, entering: str, shape: Shape
) -> Tuple[str, Shape]:
    """Widens, filters each channel, narrows; and adds what entered, where the shapes are equal."""
    inner = shape.channels * stage.expansion
    hidden, inside = entering, shape
    if stage.expansion > 1:
        expand = Convolution(f"{prefix}._expand_conv", f"{prefix}._bn0", inner)
        hidden, inside = convolve(graph, weights, expand, hidden, inside)
    depthwise = Convolution(
        f"{prefix}._depthwise_conv", f"{prefix}._bn1", inner, stage.kernel, stage.stride, depthwise=True
    )
    hidden, inside = convolve(graph, weights, depthwise, hidden, inside)
    project = Convolution(f"{prefix}._project_conv", f"{prefix}._bn2", stage.channels, active=False)
    hidden, leaving = convolve(graph, weights, project, hidden, inside)
    if leaving == shape:
        hidden = graph.node("Add", [hidden, entering], f"{prefix.lstrip('_')}.sum")
    return hidden, leaving


def classify(graph: Graph, weights: Weights, features: str, channels: int) -> str:
    """Mean over the picture, one score for each class, probabilities."""
    pooled = graph.node("GlobalAveragePool", [features], "pooled")
    flat = graph.node("Flatten", [pooled], "pooled.flat")
    matrix = graph.constant("classes.weight", weights.take("_fc.weight", CLASSES, channels))
    bias = graph.constant("classes.bias", weights.take("_fc.bias", CLASSES))
    logits = graph.node("Gemm", [flat, matrix, bias], "logits", transB=1)
    return graph.node("Softmax", [logits], "probabilities", axis=1)


def build(weights: Weights) -> onnx.ModelProto:
    graph = Graph()
    graph.constant("zero", np.array(0.0))
    graph.constant("six", np.array(6.0))
    stem = Convolution("_conv_stem", "_bn0", STEM_CHANNELS, kernel=3, stride=2)
    hidden, shape = convolve(graph, weights, stem, "image", Shape(3, SIZE))
    number = 0
    for stage in STAGES:
        for repeat in range(stage.repeats):
            this = stage if repeat == 0 else stage._replace(stride=1)
            hidden, shape = block(graph, weights, f"_blocks.{number}", this, hidden, shape)
            number += 1
    head = Convolution("_conv_head", "_bn1", HEAD_CHANNELS)
    hidden, shape = convolve(graph, weights, head, hidden, shape)
    output = classify(graph, weights, hidden, shape.channels)

    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", CLASSES])]
    return helper.make_model(
        helper.make_graph(graph.nodes, "efficientnet-lite0", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
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
    parser.add_argument("weights", type=Path, help="folder with efficientnet-lite0.pth")
    parser.add_argument("output", type=Path, help="the ONNX file to write")
    arguments = parser.parse_args()

    weights = Weights(arguments.weights / "efficientnet-lite0.pth")
    model = build(weights)
    save(model, arguments.output)
    print(f"built {arguments.output}: {len(model.graph.node)} nodes, {arguments.output.stat().st_size} bytes")


if __name__ == "__main__":
    try:
        main()
    except (BuildError, OSError) as error:
        sys.exit(f"build.py: {error}")
