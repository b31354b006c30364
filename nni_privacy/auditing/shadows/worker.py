"""A worker process: ``python -m nni_privacy.auditing.shadows.worker DATA REPLIES``.

Its arguments are two numbers of open file descriptors. It reads JSON, one object a line, from standard input: first
where everything is, then one task at a time; and writes one line a task to REPLIES. The answers themselves go through
the cache. At the end of standard input, which is also how it learns that the process that started it has died, it ends
at once.
"""

from __future__ import annotations

import json
import math
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
from nni_privacy.data.inputs import Inputs

__all__ = ["BUSY", "DONE", "FAILED", "attach_data", "main", "share_data"]

DONE, BUSY, FAILED = "done", "busy", "failed"
"""Statuses of a reply: the answers are in the cache; another process is training this shadow; it cannot be trained."""

_MESSAGE_LIMIT = 2000
_ALIGNED = 8
"""Bytes at whose multiples tensors begin."""


def share_data(data: ShadowData, file: IO[bytes]) -> dict[str, Any]:
    """Writes all records to an open file: labels, then inputs. Returns what :func:`attach_data` needs to know."""
    parts = []
    for tensor in (data.labels, *data.inputs.tensors):
        array = tensor.numpy()
        file.write(array.data)
        file.write(b"\0" * (-array.nbytes % _ALIGNED))
        parts.append({"dtype": str(array.dtype), "shape": list(array.shape)})
    file.flush()
    return {"parts": parts, "names": list(data.inputs.names)}


def attach_data(description: Mapping[str, Any], descriptor: int) -> ShadowData:
    """The records in such a file, mapped: all workers share the same pages of memory."""
    content = mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
    tensors, offset = [], 0
    for part in description["parts"]:
        count = math.prod(part["shape"])
        array = np.frombuffer(content, dtype=part["dtype"], count=count, offset=offset).reshape(part["shape"])
        tensors.append(torch.from_numpy(array))
        offset += array.nbytes + -array.nbytes % _ALIGNED
    labels, *inputs = tensors
    return ShadowData(Inputs(tuple(inputs), tuple(description["names"])), labels)


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
