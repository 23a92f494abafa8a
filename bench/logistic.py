"""Times the regression of `msn eval lowshot` beside scikit-learn's, on one problem and to the same objective.

    python bench/logistic.py --program target/release/examples/logistic

Run by bench/logistic.sh. The problem is that of ImageNet with 1% of its labels: 1,000 classes x 13 images x 1,024
columns, drawn here; the scales of the columns fall as those of encoders do, rows are centred and of length 1.

scikit-learn (lbfgs, no intercept, C = 1 / lambda, which is the same objective times a factor) runs first with falling
tolerances, in 32 and in 64 bits, until its objective is at most 1e-6 above ours relative to it; the fastest such
setting is what the rounds time, in turn with ours. Prints one JSON object.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
import warnings

import numpy as np
import scipy.special
import sklearn
from sklearn.linear_model import LogisticRegression

# Above ours, relative to it.
SAME = 1e-6
TOLERANCES = [1e-5, 3e-6, 1e-6, 3e-7, 1e-7, 1e-8]


def problem(classes, images, columns):
    """Rows around a centre for each class, class by class."""
    rng = np.random.default_rng(0)
    scales = np.arange(1, columns + 1, dtype=np.float32) ** -0.5
    centres = rng.standard_normal((classes, columns), dtype=np.float32)
    noise = rng.standard_normal((classes * images, columns), dtype=np.float32)
    rows = (np.repeat(centres, images, 0) + 2 * noise) * scales
    rows -= rows.mean(1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows, np.repeat(np.arange(classes), images)


def objective(weights, rows, labels, l2):
    """Mean cross-entropy + l2/2 |W|^2 and the norm of its gradient relative to l2 |W|, in 64 bits."""
    weights, rows = weights.astype(np.float64), rows.astype(np.float64)
    logits = rows @ weights.T
    log_sums = scipy.special.logsumexp(logits, axis=1)
    each = np.arange(len(labels))
    loss = (log_sums - logits[each, labels]).mean() + l2 / 2 * (weights**2).sum()
    residuals = np.exp(logits - log_sums[:, None])
    residuals[each, labels] -= 1
    gradient = residuals.T @ rows / len(labels) + l2 * weights
    return loss, np.linalg.norm(gradient) / (l2 * np.linalg.norm(weights))


class Ours:
    def __init__(self, arguments, rows):
        self.file = tempfile.NamedTemporaryFile(suffix=".f32")
        rows.astype("<f4").tofile(self.file.name)
        self.command = [arguments.program, self.file.name, rows.shape[1], arguments.images, arguments.lam]

    def fit(self):
        command = [str(part) for part in self.command]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def sklearn_fit(rows, labels, lam, dtype, tolerance):
    """Seconds and weights. The cast is not timed."""
    rows = rows.astype(dtype)
    solver = LogisticRegression(C=1 / lam, fit_intercept=False, solver="lbfgs", tol=tolerance, max_iter=5000)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        solver.fit(rows, labels)
    return time.perf_counter() - start, solver.coef_, int(solver.n_iter_[0])


def setting_that_reaches(target, rows, labels, lam):
    """The fastest (dtype, tolerance) whose objective is at most SAME above the target."""
    found = []
    for dtype in ["float32", "float64"]:
        for tolerance in TOLERANCES:
            seconds, weights, _ = sklearn_fit(rows, labels, lam, dtype, tolerance)
            loss, _ = objective(weights, rows, labels, lam / len(labels))
            if loss <= target * (1 + SAME):
                found.append((seconds, dtype, tolerance))
                break
    if not found:
        raise SystemExit(f"scikit-learn does not come within {SAME} of {target} at any tolerance of {TOLERANCES}")
    return min(found)[1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="the example `logistic` of msn-eval, built for release")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--images", type=int, default=13, help="of each class")
    parser.add_argument("--columns", type=int, default=1024)
    parser.add_argument("--lam", type=float, default=0.075)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--setting", help="DTYPE,TOLERANCE of scikit-learn, to leave out the search for it")
    arguments = parser.parse_args()
    rows, labels = problem(arguments.classes, arguments.images, arguments.columns)
    ours = Ours(arguments, rows)
    fit = ours.fit()
    if arguments.setting:
        dtype, tolerance = arguments.setting.split(",")
        tolerance = float(tolerance)
    else:
        dtype, tolerance = setting_that_reaches(fit["objective"], rows, labels, arguments.lam)
    times = {"ours": [], "sklearn": []}
    for _ in range(arguments.rounds):
        times["ours"].append(ours.fit()["seconds"])
        seconds, weights, iterations = sklearn_fit(rows, labels, arguments.lam, dtype, tolerance)
        times["sklearn"].append(seconds)
    loss, relative = objective(weights, rows, labels, arguments.lam / len(labels))
    medians = {name: statistics.median(values) for name, values in times.items()}
    report = {
        "problem": [arguments.classes, arguments.images, arguments.columns],
        "lambda": arguments.lam,
        "ours": {**fit, "seconds": medians["ours"], "all_seconds": times["ours"]},
        "sklearn": {
            "version": sklearn.__version__,
            "dtype": dtype,
            "tolerance": tolerance,
            "seconds": medians["sklearn"],
            "all_seconds": times["sklearn"],
            "objective": loss,
            "relative_gradient_norm": relative,
            "iterations": iterations,
        },
        "ratio": medians["sklearn"] / medians["ours"],
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
