"""Following the memory of tensors: how many bytes are alive, and how many were at the worst moment."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):
    """Follows the memory of every tensor that operators make inside the context, until it is given back.

    What an operator takes for itself while it runs (a buffer of the matrix product, say) is not seen, nor are tensors
    that were there before. It follows tensors on the meta device as well, where nothing is computed.

    Attributes:
        live_bytes: Made and not yet given back.
        peak_bytes: The largest `live_bytes` so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live_bytes = 0
        self.peak_bytes = 0
        # By identity: torch keeps one Python object for a storage as long as any tensor or graph holds it.
        self._followed: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        made = [leaf.untyped_storage() for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        new = {id(storage): storage for storage in made if id(storage) not in self._followed}
        if new:
            # A view, or the result of an operator in place, lives in memory that was there before.
            for leaf in tree_leaves((args, kwargs)):
                if isinstance(leaf, Tensor):
                    new.pop(id(leaf.untyped_storage()), None)
            for storage in new.values():
                self._follow(storage)
        return output

    def _follow(self, storage: torch.UntypedStorage) -> None:
        identity, size = id(storage), storage.nbytes()
        self._followed.add(identity)
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        weakref.finalize(storage, self._given_back, identity, size).atexit = False

    def _given_back(self, identity: int, size: int) -> None:
        self._followed.discard(identity)
        self.live_bytes -= size
