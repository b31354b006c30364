"""A worker process: ``python -m nni_privacy.auditing.shadows.worker DATA REPLIES``.

Its arguments are two numbers of open file descriptors. It reads JSON, one object a line, from standard input: first
where everything is, then one task at a time; and writes one line a task to REPLIES. The answers themselves go through
the cache. At the end of standard input, which is also how it learns that the process that started it has died, it ends
at once.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import threading
from collections.abc import Mapping
from queue import SimpleQueue
from typing import IO, Any

import numpy as np
import torch

from nni_privacy.auditing.shadows.cache import ShadowCache
from nni_privacy.auditing.shadows.plan import ShadowData, ShadowTask
from nni_privacy.auditing.shadows.shadow import cached_or_trained

__all__ = ["BUSY", "DONE", "FAILED", "attach_data", "main", "share_data"]

DONE, BUSY, FAILED = "done", "busy", "failed"
"""Statuses of a reply: the answers are in the cache; another process is training this shadow; it cannot be trained."""

_MESSAGE_LIMIT = 2000
_TYPES = {"uint8": np.uint8, "float32": np.float32}


def share_data(data: ShadowData, file: IO[bytes]) -> dict[str, Any]:
    """Writes all records to an open file: labels, then images. Returns what :func:`attach_data` needs to know."""
    file.write(data.labels.numpy().data)
    file.write(data.images.numpy().data)
    file.flush()
    return {"dtype": str(data.images.dtype).removeprefix("torch."), "shape": list(data.images.shape)}


def attach_data(description: Mapping[str, Any], descriptor: int) -> ShadowData:
    """The records in such a file, mapped: all workers share the same pages of memory."""
    content = mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
    shape = description["shape"]
    labels = np.frombuffer(content, dtype=np.int64, count=shape[0])
    images = np.frombuffer(content, dtype=_TYPES[description["dtype"]], offset=labels.nbytes).reshape(shape)
    return ShadowData(torch.from_numpy(images), torch.from_numpy(labels))


def main(arguments: list[str]) -> None:
    """Answers tasks until standard input ends."""
    descriptor, replies = (int(argument) for argument in arguments)
    messages: SimpleQueue[dict[str, Any]] = SimpleQueue()
    threading.Thread(target=_listen, args=(messages,), daemon=True).start()
    header = messages.get()
    os.chdir(header["cwd"])
    data = attach_data(header["data"], descriptor)
    cache = ShadowCache(header["cache"])
    with os.fdopen(replies, "w", encoding="utf-8") as channel:
        while True:
            print(json.dumps(_work(messages.get(), data, cache)), file=channel, flush=True)


def _listen(messages: SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        messages.put(json.loads(line))
    os._exit(0)


def _work(message: Mapping[str, Any], data: ShadowData, cache: ShadowCache) -> dict[str, Any]:
    try:
        task = ShadowTask.from_message(message["task"])
        trained = cached_or_trained(task, data, cache, wait=message["wait"])
    except Exception as error:  # whatever a user's model raises is told, not swallowed
        return {"status": FAILED, "kind": type(error).__name__, "message": str(error)[:_MESSAGE_LIMIT]}
    return {"status": BUSY if trained is None else DONE}


if __name__ == "__main__":
    main(sys.argv[1:])
