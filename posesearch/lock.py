"""Locks that belong to the process, so that the kernel frees them however the process dies.

`exclusive` and `shared` refuse at once where the lock is taken, and say by whom; `turn` waits for it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

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
    with _opened(path) as stream:
        _refuse_or_take(stream.fileno(), fcntl.LOCK_EX, path, what, rule)
        stream.seek(0)
        stream.truncate()
        stream.write(str(os.getpid()))
        stream.flush()
        yield


@contextmanager
def shared(path: Path, *, what: str, rule: str) -> Iterator[None]:
    """Holds the lock file while the block runs, together with others that share it; `exclusive` is refused meanwhile.

    Args:
        path: The lock file; its folder is made if need be.
        what: What is locked, for messages.
        rule: Sentences after "... is in use by process 12.".

    Raises:
        EnvironmentFault: A process holds it alone, the folder cannot be written, or the file system has no locks.
    """
    with _opened(path) as stream:
        _refuse_or_take(stream.fileno(), fcntl.LOCK_SH, path, what, rule)
        # Several hold it: no number of one process stands for them.
        stream.truncate(0)
        yield


@contextmanager
def turn(path: Path, *, alone: bool = True, wait: bool = True) -> Iterator[bool]:
    """Holds the lock file while the block runs, and waits for it first.

    Args:
        path: The lock file; its folder is made if need be.
        alone: Nobody else may hold it meanwhile; False shares it with others that ask likewise.
        wait: False does not wait: the block then runs with the lock or without it, and is told which.

    Yields:
        Whether the lock is held; always True after waiting.

    Raises:
        EnvironmentFault: The folder cannot be written, or the file system has no locks.
    """
    with _opened(path) as stream:
        kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        yield _taken(stream.fileno(), kind if wait else kind | fcntl.LOCK_NB, path)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="ascii")
    except OSError as error:
        raise EnvironmentFault(
            f"cannot write {path}: {error.strerror}. The folder must be writable. Check its permissions."
        ) from error
    with stream:
        yield stream


def _refuse_or_take(descriptor: int, kind: int, path: Path, what: str, rule: str) -> None:
    if not _taken(descriptor, kind | fcntl.LOCK_NB, path):
        owner = path.read_text(encoding="ascii", errors="replace").strip()
        who = f"process {owner}" if owner.isdigit() else "another process"
        raise EnvironmentFault(f"{what} is in use by {who}. {rule}")


def _taken(descriptor: int, operation: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, operation)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise EnvironmentFault(
            f"the file system of {path} cannot lock files ({error.strerror}). A lock is needed, so that two "
            "processes never write the same files. Work in a folder on a local disk."
        ) from error
    return True
