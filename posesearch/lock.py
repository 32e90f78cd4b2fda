"""One writer at a time: a lock that belongs to the process, so that the kernel frees it however the process dies."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from posesearch.errors import EnvironmentFault


@contextmanager
def exclusive(path: Path, *, what: str, rule: str) -> Iterator[None]:
    """Holds the lock file while the block runs; it then says which process holds it.

    The file stays: removing it would let a third process lock a new file of the same name while a second one still
    waits on the old.

    Args:
        path: The lock file; its folder is made if need be.
        what: What is locked, for messages, e.g. "run 'demo'".
        rule: Sentences after "... is in use by process 12.": what is allowed, and what to do.

    Raises:
        EnvironmentFault: Another process (or another block of this one) holds it, the folder cannot be written, or
            the file system has no locks.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="ascii")
    except OSError as error:
        raise EnvironmentFault(
            f"cannot write {path}: {error.strerror}. The folder must be writable. Check its permissions."
        ) from error
    with stream:
        _take(stream.fileno(), path, what, rule)
        stream.seek(0)
        stream.truncate()
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def _take(descriptor: int, path: Path, what: str, rule: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise EnvironmentFault(
                f"the file system of {path} cannot lock files ({error.strerror}). A lock is needed, so that two "
                "processes never write the same files. Work in a folder on a local disk."
            ) from error
        owner = path.read_text(encoding="ascii", errors="replace").strip()
        who = f"process {owner}" if owner.isdigit() else "another process"
        raise EnvironmentFault(f"{what} is in use by {who}. {rule}") from None
