"""Makes reference.json: what magika answers for the files of this folder, asked through its own Python package.

How a file becomes numbers is the package's own code, which is not ours; so is the run of the model. Its public
functions tell the best label only, so the features and the scores come from its private ones, which is why the
version is pinned. What the package's user would be told is noted beside them, as `official`: rules of thresholds
and of tiny files are applied there, which are not part of the model.

    cargo xtask models magika
    python -m pip install magika==1.0.3 onnxruntime==1.31.1 numpy==2.4.6
    python make.py ~/.cache/brink/models/magika

The script fails where labels.txt or model.onnx of set-up is not what the package has, or where a run through
set-up's files, prepared by the few lines of `prepared_here`, gives other scores.

The network takes the variance of eight bytes as the mean of squares less the square of the mean, in float32.
Where all eight are filled up, almost nothing is left of that but rounding, and it is divided by. So the scores of
short files depend on the order of summation, which differs between one row and several, and between processors:
the script prints by how much the former changes them here.
"""

import argparse
import hashlib
import io
import json
import re
import sys
from pathlib import Path
from typing import Dict, List

import magika
import numpy as np
import onnxruntime
from magika.types import ModelFeatures, Seekable

HERE = Path(__file__).parent

# Between the package and set-up's files: the same model, the same runtime, one row at a time.
MOST_DIFFERENCE = 1e-5

PREPROCESSING = {
    "start": "the first min(4096, size) bytes, white space before them taken off, cut to 1024 numbers or filled up "
    "with 256 behind",
    "end": "the last min(4096, size) bytes, white space behind them taken off, cut to the last 1024 numbers or "
    "filled up with 256 before",
    "white_space": "0x20, 0x09, 0x0A, 0x0B, 0x0C, 0x0D",
    "row": "start, then end: 2048 numbers of 32 bits; row_sha256 is of them in little-endian order",
}


class Official:
    """The package, with the scores of every class."""

    def __init__(self) -> None:
        self._magika = magika.Magika()
        self._config = self._magika._model_config
        self.labels = [str(label) for label in self._config.target_labels_space]
        self.model = Path(self._magika._model_path)

    def features(self, content: bytes) -> ModelFeatures:
        return magika.Magika._extract_features_from_seekable(
            Seekable(io.BytesIO(content)),
            self._config.beg_size,
            self._config.mid_size,
            self._config.end_size,
            self._config.padding_token,
            self._config.block_size,
            self._config.use_inputs_at_offsets,
        )

    def scores(self, features: ModelFeatures) -> np.ndarray:
        return np.array(self._magika._get_raw_predictions([(Path("-"), features)])[0])

    def answer(self, content: bytes) -> Dict:
        prediction = self._magika.identify_bytes(content).prediction
        return {"label": str(prediction.output.label), "model_label": str(prediction.dl.label)}


def prepared_here(content: bytes) -> List[int]:
    """The same, once more, from the description in model.toml."""
    start = list(content[:4096].lstrip()[:1024])
    end = list(content[-4096:].rstrip()[-1024:])
    return start + [256] * (1024 - len(start)) + [256] * (1024 - len(end)) + end


def described(path: Path, row: List[int], scores: np.ndarray, official: Official) -> Dict:
    content = path.read_bytes()
    best = np.argsort(-scores, kind="stable")[:5]
    return {
        "file": f"inputs/{path.name}",
        "size": len(content),
        "filled_up": {"start": row[:1024].count(256), "end": row[1024:].count(256)},
        "row_sha256": hashlib.sha256(np.array(row, "<i4").tobytes()).hexdigest(),
        "official": official.answer(content),
        "top": [
            {"class": int(index), "label": official.labels[index], "score": round(float(scores[index]), 6)}
            for index in best
        ],
    }


def laid_out(reference: Dict) -> str:
    """JSON with each label on one line."""
    text = json.dumps(reference, indent=2)
    return re.sub(r"\{\s+([^][{}]{1,200}?)\s+\}", lambda found: "{ " + " ".join(found[1].split()) + " }", text)


def run(session: onnxruntime.InferenceSession, rows: List[List[int]]) -> np.ndarray:
    return session.run(["target_label"], {"bytes": np.array(rows, np.int32)})[0]


def check_files(folder: Path, official: Official) -> None:
    labels = (folder / "labels.txt").read_text(encoding="utf-8").splitlines()
    if labels != official.labels:
        sys.exit("make.py: labels.txt is not the list of the package")
    if (folder / "model.onnx").read_bytes() != official.model.read_bytes():
        sys.exit("make.py: model.onnx is not the file of the package")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder with model.onnx and labels.txt, as set-up makes it")
    arguments = parser.parse_args()

    official = Official()
    check_files(arguments.model, official)
    session = onnxruntime.InferenceSession(arguments.model / "model.onnx")
    paths = sorted((HERE / "inputs").iterdir())
    rows = [prepared_here(path.read_bytes()) for path in paths]
    alone = [run(session, [row])[0] for row in rows]
    of_batch = float(np.abs(run(session, rows) - alone).max())

    inputs, worst = [], 0.0
    for path, row, here in zip(paths, rows, alone):
        features = official.features(path.read_bytes())
        if features.beg + features.end != row:
            sys.exit(f"make.py: the package prepares {path.name} in another way")
        scores = official.scores(features)
        worst = max(worst, float(np.abs(scores - here).max()))
        inputs.append(described(path, row, scores, official))
        best, told = inputs[-1]["top"][0], inputs[-1]["official"]["label"]
        print(f"{path.name:26} {best['label']:12} {best['score']:.4f}   officially {told}")
    print(f"largest difference of a probability between the package and set-up's files: {worst:.1e}")
    print(f"largest difference of a probability between one row and a batch of all: {of_batch:.1e}")
    if worst > MOST_DIFFERENCE:
        sys.exit(f"make.py: the former is more than {MOST_DIFFERENCE:.0e}; nothing was written")

    reference = {
        "made_by": f"make.py: magika {magika.__version__}, onnxruntime {onnxruntime.__version__}",
        "preprocessing": PREPROCESSING,
        "batch_differs_by_at_most": float(f"{of_batch:.1e}"),
        "inputs": inputs,
    }
    (HERE / "reference.json").write_text(laid_out(reference) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
