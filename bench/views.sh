#!/usr/bin/env bash
# Measures how views are made, beside torchvision on PIL images, and writes bench/results/views.json. Prints the same on
# all cores, the share of each stage, and what the decoder alone costs. Arguments go to bench/views_run.py: see
# `bench/views.sh --help`. Needs the archives in ../shared/data; nothing else should run meanwhile. About two minutes.
#
# torchvision is installed into target/views-venv, with the PyTorch of PyPI, which brings CUDA's libraries along.
# BENCH_PYTHON=/path/to/python takes an interpreter that has torchvision already.
set -euo pipefail
cd "$(dirname "$0")/.."

torchvision=0.29.2
python=${BENCH_PYTHON:-target/views-venv/bin/python}
if [ -z "${BENCH_PYTHON:-}" ] &&
    ! "$python" -c "import torchvision; assert torchvision.__version__.split('+')[0] == '$torchvision'" 2>/dev/null; then
    python3 -m venv --clear target/views-venv
    "$python" -m pip install --quiet "torchvision==$torchvision" numpy
fi

# The build names the executable in the last of its messages that has one.
bench=$(cargo bench --locked -p msn-data --bench views --no-run --message-format=json |
    "$python" -c 'import json, sys
print([m["executable"] for m in map(json.loads, sys.stdin) if m.get("executable")][-1])')
exec "$python" bench/views_run.py --bench "$bench" "$@"
