#!/usr/bin/env python3
"""The peer of `cargo bench -p msn-data --bench views`: views by torchvision's transforms on PIL images.

Composed as recipes for multi-crop self-supervised training are: each view is its own chain of random resized crop
(bilinear), flip, colour jitter at strength 0.5 in 80% of views, greyscale in 20%, PIL's Gaussian blur with a radius of
0.1 to 2 pixels in 50%, conversion to a tensor, normalisation. An image is opened and converted to RGB once.

Prints one line of JSON: the configuration, images, processes, and the seconds of one pass over the images (after a
warm-up over some of them) in all and for decoding alone. The encoded images are in memory beforehand.
"""

import argparse
import io
import json
import multiprocessing
import random
import tarfile
import time

import torch
from PIL import Image, ImageFilter
from torchvision import transforms

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STRENGTH = 0.5
WARM_UP = 20
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


def passes(encoded, config):
    """Seconds of all views of all images."""
    torch.set_num_threads(1)
    _, _, size, focal_size, focal_views = CONFIGS[config]
    large, focal = chain(size, (0.3, 1.0)), chain(focal_size, (0.05, 0.3))
    for image in encoded[:WARM_UP]:
        views(image, large, focal, focal_views)
    started = time.perf_counter()
    for image in encoded:
        views(image, large, focal, focal_views)
    return time.perf_counter() - started


def decoding(encoded):
    """Seconds of decoding all images and nothing else."""
    started = time.perf_counter()
    for image in encoded:
        decode(image)
    return time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", choices=CONFIGS)
    parser.add_argument("--data", default="../shared/data", help="folder of the archives")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, help="each makes the views of all images")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    torch.manual_seed(arguments.seed)
    file, images, *_ = CONFIGS[arguments.config]
    encoded = read(f"{arguments.data}/{file}", images)
    result = {"config": arguments.config, "processes": arguments.processes, "images": images * arguments.processes}
    if arguments.processes == 1:
        result["decode_seconds"] = decoding(encoded)
        result["seconds"] = passes(encoded, arguments.config)
    else:
        # All run at the same time, so the slowest is the time of all.
        with multiprocessing.Pool(arguments.processes) as pool:
            every = [(encoded, arguments.config)] * arguments.processes
            result["seconds"] = max(pool.starmap(passes, every, chunksize=1))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
