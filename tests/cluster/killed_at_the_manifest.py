"""Train, and die in the midst of writing the second checkpoint's manifest (test_failures.py)."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager

from recsys.backend import LocalBackend
from recsys.collaborative.als import train
from recsys.collaborative.checkpoints import Checkpoints
from recsys.storage import Folder
from tests.cluster.faults import CONFIG, evidence

written = 0
writing = Folder.writing


class Half:
    """A stream that takes half of what it is given, and kills its process."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, content):
        self._stream.write(content[: len(content) // 2])
        self._stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def killing(folder, name):
    global written
    with writing(folder, name) as stream:
        written += name == "manifest.json"
        yield Half(stream) if written == 2 else stream


Folder.writing = killing
train(
    evidence(),
    CONFIG,
    LocalBackend(2),
    checkpoints=Checkpoints(sys.argv[1], every=CONFIG.checkpoint_every),
)
