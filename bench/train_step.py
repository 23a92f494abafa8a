"""The peer in docs/performance.md: the same work as `train_step` of msn-train, in PyTorch on a CPU.

    python bench/train_step.py --config vit-s16-224 --mode bf16-sdpa

prints one JSON line. A round goes from pixels in memory to updated parameters, as there: targets by the momentum
encoder, anchors, projection head with batch norm, prototypes, Sinkhorn, me-max, backward, clipping, AdamW, momentum
encoder. With `--serve` a round runs whenever a line arrives on standard input.

The network is written the way PyTorch code is: the last block is computed for all tokens, and large and focal views
pass through the encoder in two batches, since their sequences differ in length. Dropped patches are removed before
they are embedded.
"""

import argparse
import contextlib
import copy
import json
import math
import re
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


def resident_mib(field):
    """VmRSS: memory that is resident now; VmHWM: the most that ever was."""
    with open("/proc/self/status") as status:
        return int(re.search(rf"{field}:\s+(\d+) kB", status.read()).group(1)) / 1024


IMPORT_MIB = resident_mib("VmRSS")

SIZES = {"ti": (192, 3), "s": (384, 6), "b": (768, 12)}  # dim, heads; all have 12 blocks
DEPTH = 12
HIDDEN, OUTPUT, PROTOTYPES = 2048, 256, 1024
TEMPERATURE, SHARPEN, SINKHORN_ITERATIONS = 0.1, 0.25, 3
LR, WEIGHT_DECAY, MOMENTUM, CLIP_GRAD = 2e-4, 0.04, 0.996, 3.0

CONFIGS = {
    "vit-s16-224": dict(size="s", patch=16, batch=8, image=224, drop=0.15, focal_views=10, focal=96),
    "vit-ti4-32": dict(size="ti", patch=4, batch=64, image=32, drop=0.15, focal_views=4, focal=16),
    "vit-b16-224": dict(size="b", patch=16, batch=4, image=224, drop=0.3, focal_views=10, focal=96),
    "embed-vit-s16-224": dict(size="s", patch=16, batch=32, image=224, drop=0.0, focal_views=0, focal=0),
}

# Precision, whether attention is one fused operation, whether the network is compiled.
TRAIN_MODES = {
    "f32-eager": ("f32", False, False),
    "f32-sdpa": ("f32", True, False),
    "f32-compile": ("f32", True, True),
    "bf16-eager": ("bf16", False, False),
    "bf16-sdpa": ("bf16", True, False),
    "bf16-compile": ("bf16", True, True),
}
# Features can also be computed by weights that are bf16 themselves, which training cannot.
EMBED_MODES = TRAIN_MODES | {
    "bf16-weights": ("bf16-weights", True, False),
    "bf16-weights-compile": ("bf16-weights", True, True),
}


class Attention(nn.Module):
    def __init__(self, dim, heads, fused):
        super().__init__()
        self.heads, self.fused = heads, fused
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):  # [B, T, D] -> [B, T, D]
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            x = F.scaled_dot_product_attention(q, k, v)
        else:
            scores = (q * (d // self.heads) ** -0.5) @ k.transpose(-2, -1)
            x = scores.softmax(dim=-1) @ v
        return self.proj(x.transpose(1, 2).reshape(b, t, d))


class Block(nn.Module):
    def __init__(self, dim, heads, fused):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads, fused)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Encoder(nn.Module):
    """A vision transformer that returns [CLS], or its projection if it has a head."""

    def __init__(self, size, patch, image, fused, head):
        super().__init__()
        dim, heads = SIZES[size]
        self.patch, self.grid = patch, image // patch
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + self.grid**2, dim))
        self.patch_embed = nn.Linear(3 * patch**2, dim)
        self.blocks = nn.Sequential(*(Block(dim, heads, fused) for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = head and nn.Sequential(
            nn.Linear(dim, HIDDEN),
            nn.BatchNorm1d(HIDDEN),
            nn.GELU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.BatchNorm1d(HIDDEN),
            nn.GELU(),
            nn.Linear(HIDDEN, OUTPUT),
        )
        for name, parameter in self.named_parameters():
            if name in ("cls_token", "pos_embed"):
                nn.init.trunc_normal_(parameter, std=0.02, a=-0.04, b=0.04)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04)
                nn.init.zeros_(module.bias)

    def forward(self, pixels, keep=None):  # [B, 3, S, S], kept patches [n] -> [B, D] or [B, OUTPUT]
        b, _, side, _ = pixels.shape
        grid, patch = side // self.patch, self.patch
        patches = pixels.view(b, 3, grid, patch, grid, patch).permute(0, 2, 4, 1, 3, 5)
        patches = patches.reshape(b, grid**2, 3 * patch**2)
        positions = self.positions(grid)
        if keep is not None:
            patches, positions = patches[:, keep], positions[:, keep]
        x = self.patch_embed(patches) + positions
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(b, -1, -1)
        x = self.blocks(torch.cat([cls, x], dim=1))[:, 0]
        return x if self.head is None else self.head(self.norm(x))

    def positions(self, grid):
        positions = self.pos_embed[:, 1:]
        if grid == self.grid:
            return positions
        square = positions.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        return F.interpolate(square, size=(grid, grid), mode="bicubic").flatten(2).transpose(1, 2)


def msn_loss(anchors, targets, prototypes):
    """Equation 1 of the paper: cross-entropy with the targets, and me-max."""
    prototypes = F.normalize(prototypes)
    with torch.no_grad():
        log_targets = F.log_softmax(F.normalize(targets) @ prototypes.T / (TEMPERATURE * SHARPEN), dim=1)
        for _ in range(SINKHORN_ITERATIONS):
            log_targets = F.log_softmax(F.log_softmax(log_targets, dim=0), dim=1)
        targets = log_targets.exp()
    log_assignments = F.log_softmax(F.normalize(anchors) @ prototypes.T / TEMPERATURE, dim=1)
    views = log_assignments.unflatten(0, (-1, len(targets)))
    cross_entropy = -(targets * views).sum(dim=-1).mean()
    mean = log_assignments.exp().mean(dim=0)
    memax = math.log(len(prototypes)) - torch.special.entr(mean).sum()
    return cross_entropy + memax, cross_entropy, memax


class Training:
    def __init__(self, config, precision, fused, compiled):
        self.autocast = autocast(precision)
        encoder = Encoder(config["size"], config["patch"], config["image"], fused, head=True)
        target = copy.deepcopy(encoder).requires_grad_(False)
        bound = OUTPUT**-0.5
        self.prototypes = nn.Parameter(torch.empty(PROTOTYPES, OUTPUT).uniform_(-bound, bound))
        self.parameters = list(encoder.parameters())
        self.target_parameters = list(target.parameters())
        # Fused is AdamW's fastest implementation on a CPU: 14 ms for ViT-S on a thread, foreach takes 95 ms.
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in self.parameters if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
                {"params": [p for p in self.parameters if p.ndim == 1], "weight_decay": 0.0},
                {"params": [self.prototypes], "weight_decay": 0.0},
            ],
            lr=LR,
            fused=True,
        )
        self.sizes = (count(encoder), self.prototypes.numel())
        compile = (lambda f: torch.compile(f, dynamic=False)) if compiled else (lambda f: f)
        self.encoder, self.target, self.loss = compile(encoder), compile(target), compile(msn_loss)

        batch, image, patch = config["batch"], config["image"], config["patch"]
        patches = (image // patch) ** 2
        # The same number as there: the floor, but for rounding errors of the fraction.
        kept = math.floor(patches * (1 - config["drop"]) + 1e-9)
        self.keep = torch.randperm(patches)[:kept].sort().values
        self.target_pixels, self.large = random_images(batch, image), random_images(batch, image)
        self.focal = random_images(batch * config["focal_views"], config["focal"])
        focal_patches = (config["focal"] // patch) ** 2
        self.tokens = (batch * (1 + patches), batch * (1 + kept) + len(self.focal) * (1 + focal_patches))

    def round(self):
        with torch.no_grad(), self.autocast():
            targets = self.target(self.target_pixels).float()
        with self.autocast():
            anchors = torch.cat([self.encoder(self.large, self.keep), self.encoder(self.focal)]).float()
        loss, cross_entropy, memax = self.loss(anchors, targets, self.prototypes)
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, CLIP_GRAD)
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.target_parameters, self.parameters, 1 - MOMENTUM)
        terms = {"loss": loss, "cross_entropy": cross_entropy, "memax": memax, "grad_norm": norm}
        return {name: term.item() for name, term in terms.items()}


class Embedding:
    def __init__(self, config, precision, fused, compiled):
        self.autocast = autocast(precision)
        self.encoder = Encoder(config["size"], config["patch"], config["image"], fused, head=None).eval()
        self.sizes = (count(self.encoder), 0)
        self.pixels = random_images(config["batch"], config["image"])
        self.tokens = (config["batch"] * (1 + self.encoder.grid**2), 0)
        self.dtype = torch.float32
        if precision == "bf16-weights":
            self.dtype = torch.bfloat16
            self.encoder.to(self.dtype)
        if compiled:
            # Lays the weights out once for the products of oneDNN.
            torch._inductor.config.freezing = True
            self.encoder = torch.compile(self.encoder, dynamic=False)

    def round(self):
        # Freezing wants no_grad; it costs no more than inference_mode.
        with torch.no_grad(), self.autocast():
            self.encoder(self.pixels.to(self.dtype)).float()


def autocast(precision):
    if precision == "bf16":
        return lambda: torch.autocast("cpu", dtype=torch.bfloat16)
    return contextlib.nullcontext


def random_images(batch, size):
    """As normalised images: mean 0, deviation 1."""
    return torch.empty(batch, 3, size, size).uniform_(-math.sqrt(3), math.sqrt(3))


def count(encoder):
    """Parameters, and running statistics of batch norm."""
    statistics = [buffer for buffer in encoder.buffers() if buffer.is_floating_point()]
    return sum(tensor.numel() for tensor in [*encoder.parameters(), *statistics])


def forget_peak():
    """Lets VmHWM start anew, so that importing and compiling do not count."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def say(value):
    print(json.dumps(value), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=CONFIGS, required=True)
    parser.add_argument("--mode", choices=EMBED_MODES, default="bf16-sdpa")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--serve", action="store_true", help="run a round for each line on standard input")
    arguments = parser.parse_args()
    config = CONFIGS[arguments.config]
    embeds = config["focal_views"] == 0
    modes = EMBED_MODES if embeds else TRAIN_MODES
    if arguments.mode not in modes:
        parser.error(f"--mode: expected one of {', '.join(modes)}, found {arguments.mode}")

    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    work = (Embedding if embeds else Training)(config, *modes[arguments.mode])
    first = None
    for _ in range(arguments.warmup):
        terms = work.round()
        first = first or terms
    forget_peak()

    seconds = []

    def measure():
        nonlocal first
        start = time.perf_counter()
        terms = work.round()
        seconds.append(time.perf_counter() - start)
        first = first or terms

    if arguments.serve:
        say({"ready": True})
        for _ in sys.stdin:
            measure()
            say({"seconds": seconds[-1]})
    else:
        for _ in range(arguments.rounds):
            measure()
    say(
        {
            "config": arguments.config,
            "mode": arguments.mode,
            "threads": arguments.threads,
            "torch": torch.__version__,
            "parameters": work.sizes[0],
            "prototypes": work.sizes[1],
            "target_tokens": work.tokens[0],
            "anchor_tokens": work.tokens[1],
            "seconds": seconds,
            "peak_mib": resident_mib("VmHWM"),
            "import_mib": IMPORT_MIB,
            "first": first,
        }
    )


if __name__ == "__main__":
    main()
