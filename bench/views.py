#!/usr/bin/env python3
"""The peer of `cargo bench -p msn-data --bench views`: views by torchvision's transforms on PIL images.

Composed as recipes for multi-crop self-supervised training are: each view is its own chain of random resized crop
(bilinear), flip, colour jitter at strength 0.5 in 80% of views, greyscale in 20%, PIL's Gaussian blur with a radius of
0.1 to 2 pixels in 50%, conversion to a tensor, normalisation. An image is opened and converted to RGB once.

Runs one pass over the images, in each of its processes, for every line of input, and answers with a line of JSON; the
first one when it is warm. The encoded images are in memory beforehand. At the end of its input it says what decoding
alone takes.
"""

import argparse
import io
import json
import multiprocessing
import random
import sys
import tarfile
import time

import torch
from PIL import Image, ImageFilter
from torchvision import transforms

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STRENGTH = 0.5
WARM_UP = 20
DECODE_TRIES = 5
# As in benches/views.rs: archive, images, size of large views, size of focal views, number of focal views.
CONFIGS = {
    "imagenet-224": ("imagenet-sample-200.tar", 200, 224, 96, 10),
    "cifar-32": ("cifar10-test.tar", 1000, 32, 16, 4),
}


class Blur:
    """PIL's Gaussian blur, in half of the calls."""

    def __call__(self, image):
        if random.random() >= 0.5:
            return image
        return image.filter(ImageFilter.GaussianBlur(radius=random.uniform(0.1, 2.0)))


def chain(size, scale):
    jitter = transforms.ColorJitter(0.8 * STRENGTH, 0.8 * STRENGTH, 0.8 * STRENGTH, 0.2 * STRENGTH)
    return transforms.Compose([
        transforms.RandomResizedCrop(size, scale=scale, interpolation=transforms.InterpolationMode.BILINEAR),
        transforms.RandomHorizontalFlip(),
        transforms.RandomApply([jitter], p=0.8),
        transforms.RandomGrayscale(p=0.2),
        Blur(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ])


def read(path, images):
    """Encoded images, evenly spaced over the names in order, as the other side takes them."""
    with tarfile.open(path) as archive:
        names = sorted(name for name in archive.getnames() if name.lower().endswith((".jpg", ".jpeg", ".png")))
        stride = len(names) // images
        return [archive.extractfile(names[i * stride]).read() for i in range(images)]


def decode(encoded):
    return Image.open(io.BytesIO(encoded)).convert("RGB")


def views(encoded, large, focal, focal_views):
    image = decode(encoded)
    return [large(image) for _ in range(2)] + [focal(image) for _ in range(focal_views)]


class Peer:
    """The images of a configuration and the transforms of their views."""

    def __init__(self, config, data, seed):
        random.seed(seed)
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        file, images, size, focal_size, self.focal_views = CONFIGS[config]
        self.encoded = read(f"{data}/{file}", images)
        self.large, self.focal = chain(size, (0.3, 1.0)), chain(focal_size, (0.05, 0.3))

    def warm_up(self):
        for encoded in self.encoded[:WARM_UP]:
            views(encoded, self.large, self.focal, self.focal_views)

    def seconds(self):
        """Of all views of all images."""
        started = time.perf_counter()
        for encoded in self.encoded:
            views(encoded, self.large, self.focal, self.focal_views)
        return time.perf_counter() - started

    def decode_seconds(self):
        """Of decoding alone: for each image the least of some tries."""
        total = 0.0
        for encoded in self.encoded:
            tries = []
            for _ in range(DECODE_TRIES):
                started = time.perf_counter()
                decode(encoded)
                tries.append(time.perf_counter() - started)
            total += min(tries)
        return total


def work(pipe, *of_peer):
    """One of several processes: a pass for every message."""
    peer = Peer(*of_peer)
    peer.warm_up()
    pipe.send("ready")
    while pipe.recv():
        pipe.send(peer.seconds())


def say(message):
    print(json.dumps(message), flush=True)


def serve(peer):
    peer.warm_up()
    say({"ready": True})
    for _ in sys.stdin:
        say({"seconds": peer.seconds()})
    say({"decode_seconds": peer.decode_seconds()})


def serve_many(processes, *of_peer):
    pipes = []
    for number in range(processes):
        ours, theirs = multiprocessing.Pipe()
        multiprocessing.Process(target=work, args=(theirs, *of_peer, number), daemon=True).start()
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()
    say({"ready": True})
    for _ in sys.stdin:
        started = time.perf_counter()
        for pipe in pipes:
            pipe.send(True)
        for pipe in pipes:
            pipe.recv()
        say({"seconds": time.perf_counter() - started})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", choices=CONFIGS)
    parser.add_argument("--data", default="../shared/data", help="folder of the archives")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, help="each makes the views of all images")
    arguments = parser.parse_args()
    if arguments.processes == 1:
        serve(Peer(arguments.config, arguments.data, arguments.seed))
    else:
        serve_many(arguments.processes, arguments.config, arguments.data)


if __name__ == "__main__":
    main()
