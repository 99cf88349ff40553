"""How does a test ill-treat a whole PostgreSQL server?"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from local.postgres import Cluster


@contextmanager
def stopped(cluster: Cluster) -> Iterator[None]:
    """Stop the server's processes as a debugger would: the kernel still takes connections."""
    postmaster = psutil.Process(cluster.pid)
    postmaster.send_signal(signal.SIGSTOP)  # first, so that it starts no more
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes[1:]:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)
