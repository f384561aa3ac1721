"""transformers as it is where PyTorch is not installed.

Where PyTorch is, transformers imports it, and torchvision, as soon as its configuration or image preprocessing is
loaded: three seconds of processor time for nothing that is used here, and no start at all where the two do not fit each
other. It has no switch against that.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading

HIDDEN = ("torch", "torchvision")
_modules: dict = {}
_lock = threading.RLock()


@contextlib.contextmanager
def transformers_alone():
    """Within this context `import transformers` gives a copy of its own that knows no PyTorch.

    What was imported before is there again afterwards, so that a program may use transformers with PyTorch beside it.
    While a checkpoint is loaded, no other thread can import either.
    """
    global _modules
    with _lock:
        outside, handlers = _take_away(), list(logging.getLogger("transformers").handlers)
        sys.modules.update(_modules | dict.fromkeys(HIDDEN))  # None in sys.modules: not to be had
        try:
            yield
        finally:
            inside = _take_away()
            sys.modules.update(outside)
            logging.getLogger("transformers").handlers[:] = handlers
            _modules = {name: module for name, module in inside.items() if name not in HIDDEN}


def _take_away() -> dict:
    """transformers and what is hidden from it, out of the imported modules."""
    names = [name for name in list(sys.modules) if name.split(".")[0] == "transformers" or name in HIDDEN]
    return {name: sys.modules.pop(name) for name in names}
