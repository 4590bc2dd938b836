#!/bin/sh
# Runs `brink-bench gpu` on a machine with a GPU, without a network and without a compiler.
#
# On a machine that has all: `cargo xtask bench gpu --help` builds everything; then put these together and split them:
#   brink brink-bench raw_onnxruntime                release binaries
#   lib/                                             the files of $BRINK_CACHE/onnxruntime/1.31.1-gpu
#   models/ references/                              $BRINK_CACHE/models, and models/ of the source tree
#   spin.toml target/components/gateway.wasm ...     the manifest, and the components that it names
#   tar cz -C FOLDER . | split -b 60m - pieces.
# Put the pieces and this script into one folder there, and run it; the report is report.md. Options go to the
# benchmark. CUDA 13 and cuDNN 9 are looked for in LD_LIBRARY_PATH, and in NVIDIA's packages for Python.
set -eu
cd "$(dirname "$0")"
if [ ! -x ./brink ] && ls pieces.* >/dev/null 2>&1; then
    cat pieces.* | tar xz
fi
packages=$(python3 -c 'import nvidia; print(*[f"{p}/{d}/lib" for p in nvidia.__path__ for d in ("cu13", "cudnn")], sep=":")' \
    2>/dev/null || true)
: "${BRINK_BIN:=$PWD/brink}" "${BRINK_RAW_BASELINE:=$PWD/raw_onnxruntime}" "${BRINK_MODELS:=$PWD/models}"
: "${BRINK_ONNXRUNTIME:=$PWD/lib/libonnxruntime.so}" "${BRINK_BENCH:=$PWD/brink-bench}" "${REFERENCES:=$PWD/references}"
LD_LIBRARY_PATH=$(dirname "$BRINK_ONNXRUNTIME")${packages:+:$packages}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export BRINK_BIN BRINK_RAW_BASELINE BRINK_MODELS BRINK_ONNXRUNTIME LD_LIBRARY_PATH
exec "$BRINK_BENCH" gpu --references "$REFERENCES" --report report.md "$@"
