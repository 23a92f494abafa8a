#!/usr/bin/env bash
# Measures the training step beside PyTorch, writes bench/results/train_step.json and fills the tables of
# docs/performance.md. Arguments go to bench/run.py: see `bench/run.sh --help`. Nothing else should run meanwhile.
#
# PyTorch is installed into target/bench-venv: the build of PyPI, which brings CUDA's libraries along (5.5 GB).
# BENCH_PYTHON=/path/to/python takes an interpreter that has PyTorch already.
set -euo pipefail
cd "$(dirname "$0")/.."

torch=2.15.0
python=${BENCH_PYTHON:-target/bench-venv/bin/python}
if [ -z "${BENCH_PYTHON:-}" ] &&
    ! "$python" -c "import torch; assert torch.__version__.split('+')[0] == '$torch'" 2>/dev/null; then
    python3 -m venv --clear target/bench-venv
    "$python" -m pip install --quiet "torch==$torch" numpy
fi

# Without `msn`, whose tests bring a second backend of Burn.
cargo build --release --locked --workspace --exclude msn --example train_step --example limit
exec "$python" bench/run.py "$@"
