#!/usr/bin/env bash
# Times the regression of the low-shot protocol beside scikit-learn's LogisticRegression(lbfgs) at the same objective,
# and prints one JSON object. Arguments go to bench/logistic.py: see `bench/logistic.sh --help`. Nothing else should run
# meanwhile. About five minutes on two cores.
#
# scikit-learn is installed into target/sklearn-venv; BENCH_PYTHON=/path/to/python takes an interpreter that has it
# already.
set -euo pipefail
cd "$(dirname "$0")/.."

sklearn=1.9.1
python=${BENCH_PYTHON:-target/sklearn-venv/bin/python}
if [ -z "${BENCH_PYTHON:-}" ] && ! "$python" -c "import sklearn; assert sklearn.__version__ == '$sklearn'" 2>/dev/null; then
    python3 -m venv --clear target/sklearn-venv
    "$python" -m pip install --quiet "scikit-learn==$sklearn"
fi
cargo build --locked --release --workspace --example logistic
exec "$python" bench/logistic.py --program target/release/examples/logistic "$@"
