"""GFLOP/s of PyTorch's matrix products (MKL in f32, oneDNN in bf16) on the shapes of `cargo bench -p msn-kernels`.

    python bench/gemm_peer.py --threads 2

prints a JSON line for each product. Results are bf16 where operands are, as PyTorch multiplies; there they are f32.
"""

import argparse
import json
import time

import torch

ROUNDS = 15
TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def products():
    """Linear layers of ViT-S at 4296 tokens and of ViT-Ti at 4480: form, [m, n, k]."""
    for tokens, width in [(4296, 384), (4480, 192)]:
        for inputs, outputs in [(1, 3), (1, 1), (1, 4), (4, 1)]:
            inputs, outputs = inputs * width, outputs * width
            yield "nt", (tokens, outputs, inputs)
            yield "nn", (tokens, inputs, outputs)
            yield "tn", (outputs, inputs, tokens)


def gflops(form, shape, dtype):
    """Of the best round; a first one warms up."""
    m, n, k = shape
    a = torch.rand(*((k, m) if form == "tn" else (m, k)), dtype=dtype) - 0.5
    b = torch.rand(*((n, k) if form == "nt" else (k, n)), dtype=dtype) - 0.5
    a, b = (a.T if form == "tn" else a), (b.T if form == "nt" else b)
    out = torch.empty(m, n, dtype=dtype)
    times = []
    for _ in range(1 + ROUNDS):
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        times.append(time.perf_counter() - start)
    return 2 * m * n * k / min(times[1:]) / 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--types", nargs="+", choices=TYPES, default=list(TYPES))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for form, shape in products():
        rates = {name: round(gflops(form, shape, TYPES[name])) for name in arguments.types}
        print(json.dumps({"form": form, "shape": shape, "gflops": rates}), flush=True)


if __name__ == "__main__":
    main()
