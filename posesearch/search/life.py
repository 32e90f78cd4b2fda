"""Signs of life: a thread that tells the storage, while a trial is answered, that its worker is there."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import optuna
import sqlalchemy


class SignsOfLife:
    """Calls `beat` once now and then every so many seconds, until it is ended.

    Args:
        beat: Gives a sign of life.
        ending: Frees what `beat` used in the thread.
        every_s: Seconds between two signs.
    """

    def __init__(self, beat: Callable[[], None], ending: Callable[[], None], every_s: float) -> None:
        self._beat, self._ending, self._every_s = beat, ending, every_s
        self._ended = threading.Event()
        beat()
        # A daemon: a worker that fails must not go on living for its heartbeat.
        self._thread = threading.Thread(target=self._run, name="signs of life", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            # One that is lost does no harm, and the worker itself will say what is wrong with the storage.
            with contextlib.suppress(optuna.exceptions.OptunaError, sqlalchemy.exc.SQLAlchemyError, OSError):
                self._beat()
        self._ending()

    def end(self) -> None:
        """Ends the thread."""
        self._ended.set()
        self._thread.join()
