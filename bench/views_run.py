"""Lets the view pipeline and torchvision take turns, and writes down images a second. Started by bench/views.sh.

Both start once for each configuration; rounds of one thread each alternate, so that whatever else the machine does
falls on both, and medians are compared. Then the same on all cores: threads of ours, processes of the peer.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

from run import Contender

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench/results/views.json"
IMAGES = {"imagenet-224": 200, "cifar-32": 1000}


def alternate(config, executable, threads, rounds):
    """Images a second of the peer and of ours, each the median of the rounds, and what the peer says at the end."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    peer_command = [sys.executable, ROOT / "bench/views.py", config, "--data", ROOT / "../shared/data"]
    peer = Contender([*peer_command, "--processes", str(threads)], environment)
    ours = Contender([executable, "--serve", config, "--threads", str(threads)], environment)
    taken = [(peer.round(), ours.round()) for _ in range(rounds)]
    images = IMAGES[config] * threads
    speeds = [images / statistics.median(seconds) for seconds in zip(*taken)]
    for name, seconds in zip(("peer", "ours"), zip(*taken)):
        each = " ".join(f"{images / s:.0f}" for s in seconds)
        print(f"  {name} on {threads}, images/s by rounds: {each}", file=sys.stderr)
    ours.process.stdin.close()
    ours.process.wait()
    if threads > 1:
        peer.process.stdin.close()
        peer.process.wait()
        return speeds, None
    return speeds, IMAGES[config] / peer.report()["decode_seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=pathlib.Path, required=True, help="executable of the `views` benchmark")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--configs", nargs="+", choices=IMAGES, default=list(IMAGES))
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the second comparison")
    options = parser.parse_args()
    rows = []
    for config in options.configs:
        (peer, ours), peer_decode = alternate(config, options.bench, 1, options.rounds)
        rows.append({"config": config, "peer": round(peer, 1), "ours": round(ours, 1), "ratio": round(ours / peer, 2)})
        print(f"{config}: {ours:.0f} images/s on one thread, peer {peer:.1f}, ratio {ours / peer:.1f}")
        print(f"  the peer's decoder alone: {peer_decode:.0f} images/s")
        if options.threads > 1:
            (peer, ours), _ = alternate(config, options.bench, options.threads, options.rounds)
            print(f"  on {options.threads} cores: {ours:.0f} images/s, peer {peer:.1f}, ratio {ours / peer:.1f}", flush=True)
    if set(options.configs) == set(IMAGES):
        RESULTS.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    # Shares of the stages, and the floor.
    subprocess.run([options.bench], check=True)


if __name__ == "__main__":
    main()
