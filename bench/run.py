"""Lets the training step and its peer take turns, and writes down what both took. Started by bench/run.sh.

For every configuration and every mode of the peer both programs are started once, and rounds alternate between
them, so that whatever else the machine does falls on both. Medians are compared. Of the peer's modes the one counts
that comes closest to ours: its fastest, by rounds measured at the same time.
"""

import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "target/release/examples"
RESULTS = ROOT / "bench/results/train_step.json"
PAGE = ROOT / "docs/performance.md"

TRAIN_MODES = ["f32-eager", "f32-sdpa", "f32-compile", "bf16-eager", "bf16-sdpa", "bf16-compile"]
MODES = {
    "vit-s16-224": TRAIN_MODES,
    "vit-ti4-32": TRAIN_MODES,
    "vit-b16-224": TRAIN_MODES,
    "embed-vit-s16-224": [*TRAIN_MODES, "bf16-weights", "bf16-weights-compile"],
}
MASK_RATIOS = [0, 30, 50, 70]

# Both draw other weights and other images, so loss terms agree roughly. Cross-entropy starts near ln 1024 = 6.9.
LOSS_TOLERANCE = 0.02


class Contender:
    """A program that runs one round for each line it is sent."""

    def __init__(self, command, environment):
        self.command = command
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env=environment, **pipes)
        self.read()  # Ready: warmed up.

    def round(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.read()["seconds"]

    def report(self):
        """What it says at the end of its input."""
        self.process.stdin.close()
        report = self.read()
        self.process.wait()
        return report

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"ended with exit status {self.process.wait()}: {' '.join(map(str, self.command))}")
        return json.loads(line)


def ours(config, options):
    command = [EXAMPLES / "train_step", "--config", config, "--threads", str(options.threads)]
    command += ["--warmup", str(options.warmup), "--precision", options.precision, "--serve"]
    return Contender(command, os.environ)


def peer(config, mode, options):
    command = [sys.executable, ROOT / "bench/train_step.py", "--config", config, "--mode", mode]
    command += ["--threads", str(options.threads), "--warmup", str(options.warmup), "--serve"]
    return Contender(command, peer_environment(options))


def peer_environment(options):
    # The two can force an OpenBLAS kernel that is slow here.
    environment = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    return environment | {"OMP_NUM_THREADS": str(options.threads)}


def take_turns(contenders, rounds):
    for index in range(rounds):
        # Neither always comes first.
        for contender in contenders if index % 2 == 0 else contenders[::-1]:
            contender.round()
    return [contender.report() for contender in contenders]


def check_same_work(ours, theirs):
    """Both have as many parameters, read as many tokens, and start from like losses."""
    for field in ("parameters", "prototypes", "target_tokens", "anchor_tokens", "threads"):
        if ours[field] != theirs[field]:
            sys.exit(f"{ours['config']}: {field}: ours {ours[field]}, the peer's {theirs[field]}")
    if ours["first"]:
        a, b = (report["first"]["cross_entropy"] for report in (ours, theirs))
        if abs(a - b) > LOSS_TOLERANCE * b:
            sys.exit(f"{ours['config']}: cross-entropy of the first step: ours {a:.3f}, the peer's {b:.3f}")


def measure_row(config, options, limit):
    """A configuration against every mode of the peer."""
    pairs = {}
    for mode in options.modes or MODES[config]:
        # Without instructions for bf16, PyTorch takes minutes for a step in it.
        if mode not in MODES[config] or (mode.startswith("bf16") and not options.has_bf16):
            continue
        print(f"{config} beside {mode}", file=sys.stderr)
        pairs[mode] = take_turns([ours(config, options), peer(config, mode, options)], options.rounds)
        check_same_work(*pairs[mode])
    if not pairs:
        return None
    median = lambda report: statistics.median(report["seconds"])
    mode = min(pairs, key=lambda mode: median(pairs[mode][1]) / median(pairs[mode][0]))
    our, their = pairs[mode]
    ours_s, peer_s = median(our), median(their)
    gflops = our["flop"] / ours_s / 1e9
    return {
        "config": config,
        "peer_s": peer_s,
        "ours_s": ours_s,
        "ratio": peer_s / ours_s,
        "peer_mode": mode,
        "ours_gflop": our["flop"] / 1e9,
        "ours_gflops": gflops,
        "share_of_limit": limit and gflops / limit,
        "ours_peak_mib": our["peak_mib"],
        "peer_peak_mib": their["peak_mib"],
        "peer_import_mib": their["import_mib"],
        "peak_share": our["peak_mib"] / (their["peak_mib"] - their["import_mib"]),
        "ours_rounds_s": our["seconds"],
        "peer_rounds_s": their["seconds"],
        "ours_first": our["first"],
        "peer_first": their["first"],
        "torch": their["torch"],
        "all_peer_modes": {
            mode: {
                "peer_s": median(their),
                "ours_s": median(our),
                "ratio": median(their) / median(our),
                "peer_peak_mib": their["peak_mib"],
            }
            for mode, (our, their) in pairs.items()
        },
    }


def measure_mask_curve(options):
    """Time and memory of ViT-L/7 by mask ratio. Each takes turns with none, and its share is of that one: two such
    processes fit into memory, and what the machine does meanwhile falls on both."""
    curve, whole_seconds = [], []
    for ratio in MASK_RATIOS[1:]:
        config = f"vit-l7-drop{ratio}"
        print(config, file=sys.stderr)
        programs = [ours(f"vit-l7-drop{MASK_RATIOS[0]}", options), ours(config, options)]
        whole, report = take_turns(programs, options.rounds)
        whole_seconds += whole["seconds"]
        points = [mask_point(0, whole), mask_point(ratio, report)]
        for field, share in [("ours_s", "time_share"), ("ours_peak_mib", "memory_share"), ("gflop", "flop_share")]:
            for point in points:
                point[share] = point[field] / points[0][field]
        curve += points[1:] if curve else points
    curve[0]["ours_s"] = statistics.median(whole_seconds)
    return curve


def mask_point(ratio, report):
    return {
        "patch_drop": ratio / 100,
        "ours_s": statistics.median(report["seconds"]),
        "ours_peak_mib": report["peak_mib"],
        "gflop": report["flop"] / 1e9,
        "anchor_tokens": report["anchor_tokens"],
    }


def measure_limits(options):
    """What the chip multiplies on registers alone, GFLOP/s, by precision; none where it has no instruction."""
    out = subprocess.run(
        [EXAMPLES / "limit", str(options.threads)], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    limits = json.loads(out)
    return {"f32": limits["f32_gflops"], "bf16": limits["bf16_gflops"]}


def measure_gemm(options):
    """Rows of GFLOP/s by shape: the kernels and the `gemm` crate, then PyTorch."""
    environment = os.environ | {"RAYON_NUM_THREADS": str(options.threads)}
    command = ["cargo", "bench", "--locked", "-q", "-p", "msn-kernels", "--bench", "gemm"]
    out = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    header, *lines = out.splitlines()
    # The table of the benchmark: 20 characters for the shape, 16 for each column.
    columns = lambda line: [line[:20].strip(), *(line[i : i + 16].strip() for i in range(20, len(line), 16))]
    names = columns(header.split("   GFLOP/s")[0])
    rows = [columns(line) for line in lines]
    types = ["f32", "bf16"] if options.has_bf16 else ["f32"]
    command = [sys.executable, ROOT / "bench/gemm_peer.py", "--threads", str(options.threads), "--types", *types]
    out = subprocess.run(
        command, env=peer_environment(options), check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    peers = [json.loads(line) for line in out.splitlines()]
    table = [[*names, *(f"PyTorch {name}" for name in types)]]
    for row, peer in zip(rows, peers, strict=True):
        assert row[0].split() == [peer["form"], *map(str, peer["shape"])], (row, peer)
        table.append([*row, *(str(peer["gflops"][name]) for name in types)])
    return table


def markdown(table):
    header, *rows = table
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])


def train_step_table(results):
    head = ["configuration", "PyTorch's best, s", "its mode", "ours, s", "ratio", "GFLOP", "GFLOP/s", "of the limit"]
    head += ["peak memory, MiB", "PyTorch's, MiB", "of it importing", "ours / the rest"]
    rows = [
        [
            row["config"],
            f"{row['peer_s']:.3f}",
            row["peer_mode"],
            f"{row['ours_s']:.3f}",
            f"{row['ratio']:.2f}",
            f"{row['ours_gflop']:.0f}",
            f"{row['ours_gflops']:.0f}",
            f"{row['share_of_limit']:.0%}" if row["share_of_limit"] else "",
            f"{row['ours_peak_mib']:.0f}",
            f"{row['peer_peak_mib']:.0f}",
            f"{row['peer_import_mib']:.0f}",
            f"{row['peak_share']:.2f}",
        ]
        for row in results["rows"]
    ]
    return markdown([head, *rows])


def modes_table(results):
    """Seconds of each mode, and how many times ours, measured at the same time, that is."""
    modes = list(dict.fromkeys(mode for row in results["rows"] for mode in row["all_peer_modes"]))
    cell = lambda row, mode: (
        f"{found['peer_s']:.3f} ({found['ratio']:.2f})" if (found := row["all_peer_modes"].get(mode)) else ""
    )
    rows = [[row["config"], *(cell(row, mode) for mode in modes)] for row in results["rows"]]
    return markdown([["configuration", *modes], *rows])


def mask_table(results):
    head = ["patches dropped", "s a step", "of none dropped", "peak memory, MiB", "of none dropped"]
    head += ["GFLOP", "of none dropped", "anchor tokens"]
    rows = [
        [
            f"{point['patch_drop']:.0%}",
            f"{point['ours_s']:.2f}",
            f"{point['time_share']:.2f}",
            f"{point['ours_peak_mib']:.0f}",
            f"{point['memory_share']:.2f}",
            f"{point['gflop']:.0f}",
            f"{point['flop_share']:.2f}",
            str(point["anchor_tokens"]),
        ]
        for point in results["mask_curve"]
    ]
    return markdown([head, *rows])


def facts(results):
    torch = results["rows"][0]["torch"] if results["rows"] else ""
    lines = [
        f"{results['date']}, {results['cpu']}, {results['threads']} threads, {results['precision']}, "
        f"PyTorch {torch}, {results['rounds']} rounds. "
        f"Limit of the chip (products on registers alone): {results['limit_gflops']:.0f} GFLOP/s."
    ]
    if results["smoke"]:
        lines.insert(0, "**Smoke, noisy:** a trial of the programs on a machine that did other work. Not results.")
    return "\n\n".join(lines)


def fill(page, name, text):
    """Puts the text between the markers of that name."""
    begin, end = f"<!-- {name}: written by bench/run.sh -->", f"<!-- end of {name} -->"
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def cpu_name():
    with open("/proc/cpuinfo") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    return f"{names[0] if names else 'unknown processor'}, {os.cpu_count()} cores"


def main():
    parser = argparse.ArgumentParser(prog="bench/run.sh", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["bf16", "f32"], help="ours; by default what the processor does best")
    parser.add_argument("--configs", nargs="*", choices=MODES, default=list(MODES), help="rows to measure")
    all_modes = dict.fromkeys(mode for modes in MODES.values() for mode in modes)
    parser.add_argument("--modes", nargs="*", choices=all_modes, help="modes of the peer to measure, not all")
    parser.add_argument("--no-mask-curve", action="store_true", help="leave ViT-L/7 (8 GB) out")
    parser.add_argument("--gemm", action="store_true", help="also compare single products")
    parser.add_argument("--out", type=pathlib.Path, help="write the figures there, and leave the page alone")
    parser.add_argument("--smoke", action="store_true", help="mark the results as a trial")
    parser.add_argument("--tables-only", action="store_true", help="write the tables anew from the last results")
    options = parser.parse_args()

    path = options.out or RESULTS
    is_whole = set(options.configs) == set(MODES) and not options.no_mask_curve
    if not (is_whole or options.out or options.tables_only):
        parser.error("the page shows whole runs: write the figures of some rows elsewhere, with --out FILE")
    if options.tables_only:
        results = json.loads(path.read_text())
    else:
        limits = measure_limits(options)
        options.has_bf16 = limits["bf16"] is not None
        options.precision = options.precision or ("bf16" if options.has_bf16 else "f32")
        limit = limits[options.precision] or limits["f32"]
        rows = [measure_row(config, options, limit) for config in options.configs]
        if options.configs and not any(rows):
            sys.exit("no row: this processor has no instructions for the modes asked for")
        results = {
            "rows": [row for row in rows if row],
            "limit_gflops": limit,
            "mask_curve": [] if options.no_mask_curve else measure_mask_curve(options),
            "gemm": measure_gemm(options) if options.gemm else [],
            "date": datetime.date.today().isoformat(),
            "cpu": cpu_name(),
            "threads": options.threads,
            "precision": options.precision,
            "rounds": options.rounds,
            "smoke": options.smoke,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n")

    tables = {"training step": train_step_table(results), "modes": modes_table(results)}
    if results["mask_curve"]:
        tables["mask ratio"] = mask_table(results)
    if results["gemm"]:
        tables["products"] = markdown(results["gemm"])
    print(f"\n{facts(results)}", *tables.values(), sep="\n\n")
    if options.out is None:
        page = PAGE.read_text()
        for name, text in [("facts", facts(results)), *tables.items()]:
            page = fill(page, name, text)
        PAGE.write_text(page)


if __name__ == "__main__":
    main()
