"""Seconds and memory that data costs: CIFAR-10 read and normalised, an epoch's batches, CelebA decoded. One thread.

    python benchmarks/data.py [--images 60000] [--faces 4000]

The files are written first, in their official formats, with random pixels: reading them takes as long.
Each measurement runs in a process of its own. Memory is the peak above what the process held after importing torch and
torchvision. A batch is 64 images; the step that it is compared with is one of resnet18 (forward, backward, SGD).
"""

from __future__ import annotations

import argparse
import hashlib
import io
import pickle
import resource
import struct
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

GOALS = {"seconds": 3.0, "MB": 400.0, "share": 0.02}
BATCH, STEPS, FACE = 64, 6, (178, 218)
CELEBA_FACES = 202_599


class _PickledByPython2(pickle._Pickler):  # type: ignore[name-defined]
    """Writes bytes as Python 2 wrote its strings, which is how the official files hold their pixels."""

    dispatch = {**pickle._Pickler.dispatch}  # type: ignore[attr-defined]  # noqa: RUF012

    def save_bytes(self, content: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(content)) + content)
        self.memoize(content)

    dispatch[bytes] = save_bytes


def _pickled(entry: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    _PickledByPython2(stream, protocol=2).dump(entry)
    return stream.getvalue()


def write_cifar10(root: Path, images: int) -> dict[str, Any]:
    """Six files as the official ones; returns what torchvision's tables of checksums have to say."""
    import numpy as np
    from torchvision.datasets import CIFAR10

    generator = np.random.default_rng(0)
    folder = root / CIFAR10.base_folder
    folder.mkdir()
    tables: dict[str, Any] = {"train_list": [], "test_list": []}
    for table, entries in tables.items():
        for name, _ in getattr(CIFAR10, table):
            data = generator.integers(0, 256, size=(images // 6, 3072), dtype=np.uint8)
            content = _pickled({"data": data, "labels": generator.integers(0, 10, len(data)).tolist()})
            (folder / name).write_bytes(content)
            entries.append([name, _md5(content)])
    content = pickle.dumps({"label_names": list("0123456789")})
    (folder / "batches.meta").write_bytes(content)
    return {**tables, "meta": {**CIFAR10.meta, "md5": _md5(content)}}


def measure_cifar10(root: str, tables: dict[str, Any]) -> dict[str, float]:
    """Reads the pool, fits the normaliser on target-train, and normalises all images once, batch by batch."""
    import torch
    from torchvision.datasets import CIFAR10

    from nni_privacy.data import Normalizer, load_dataset
    from nni_privacy.training.fit import epoch_batches, prepare_batch

    torch.set_num_threads(1)
    for name, table in tables.items():
        setattr(CIFAR10, name, table)
    before, started = _memory(), time.perf_counter()
    data = load_dataset("cifar10", root=root)
    read = time.perf_counter() - started
    normalize = Normalizer.fit(data.images[data.split(seed=0).target_train])
    fitted = time.perf_counter() - started
    batches = epoch_batches(len(data), batch_size=BATCH, generator=torch.Generator().manual_seed(0))
    for index in batches:
        prepare_batch(data.images[index], normalize)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 * 1.048576
    return {"read": read, "fit": fitted - read, "batch": (seconds - fitted) / len(batches), "seconds": seconds,
            "MB": peak - before}  # fmt: skip


def measure_step() -> float:
    """Seconds of a training step of resnet18 on 32 x 32; the first is not counted."""
    import torch
    from torch.nn import functional

    from nni_privacy.networks import build_network
    from nni_privacy.training.fit import MEMORY_FORMAT

    torch.set_num_threads(1)
    network = build_network("resnet18", in_channels=3, num_classes=10, image_size=32).to(memory_format=MEMORY_FORMAT)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    images = torch.rand(BATCH, 3, 32, 32).contiguous(memory_format=MEMORY_FORMAT)
    times = []
    for _ in range(STEPS):
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(network(images), torch.arange(BATCH) % 10).backward()
        optimizer.step()
        times.append(time.perf_counter() - started)
    return min(times[1:])


def measure_celeba(root: str, faces: int) -> tuple[float, float]:
    """Seconds to decode the faces into the cache, and to load them once they are there."""
    import numpy as np
    from PIL import Image
    from torchvision.datasets import CelebA

    from nni_privacy.data import load_dataset

    folder = Path(root) / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    small = np.random.default_rng(0).integers(0, 256, size=(faces, 11, 9, 3), dtype=np.uint8)
    names = [f"{number:06}.jpg" for number in range(1, faces + 1)]
    for name, image in zip(names, small, strict=True):  # about as many bytes as a face of CelebA
        Image.fromarray(image).resize(FACE).save(folder / "img_align_celeba" / name, quality=80)
    header = "Heavy_Makeup Mouth_Slightly_Open Smiling"
    text = "\n".join([str(faces), header, *(f"{name}  1 -1  1" for name in names)]) + "\n"
    (folder / "list_attr_celeba.txt").write_text(text)
    CelebA.file_list = [("", _md5(text.encode()), "list_attr_celeba.txt")]
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        load_dataset("celeba", root=root, cache=Path(root) / "cache")
        seconds.append(time.perf_counter() - started)
    return seconds[0], seconds[1]


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _memory() -> float:
    """What the process holds now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def _apart(function: Any, *arguments: Any) -> Any:
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    """Prints the numbers and whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--faces", type=int, default=4_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = _apart(measure_cifar10, folder, write_cifar10(Path(folder), options.images))
        decoded, again = _apart(measure_celeba, folder, options.faces)
    step = _apart(measure_step)
    found["share"] = found["batch"] / step
    print(f"{options.images:,} images as CIFAR-10's: read {found['read']:.2f} s, statistics of target-train", end=" ")
    print(f"{found['fit']:.2f} s, with all normalised once {found['seconds']:.2f} s; {found['MB']:.0f} MB")
    print(f"a batch of {BATCH}: {1e3 * found['batch']:.2f} ms; a step of resnet18: {step:.2f} s; {found['share']:.2%}")
    print(f"{options.faces:,} faces as CelebA's: decoded in {decoded:.1f} s (all {CELEBA_FACES:,}:", end=" ")
    print(f"{decoded / options.faces * CELEBA_FACES / 60:.1f} minutes), loaded again in {again:.2f} s")
    missed = [f"{name} {found[name]:.3g} (goal {goal})" for name, goal in GOALS.items() if found[name] > goal]
    print("goals: " + ("; ".join(missed) if missed else "met"))


if __name__ == "__main__":
    main()
