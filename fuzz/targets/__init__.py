"""Targets by name: ``zmm``, ``zmm:LEVEL``, ``zmm:/path``, ``php``, ``php:VERSION``, ``php:/path``, ``libc``, ...

::

    target = find_target("php")
    print(target.name, target.version, target.library)
"""

from .base import Target, TargetError
from .find import find_target, found_targets
from .runner import runner_path

__all__ = ["Target", "TargetError", "find_target", "found_targets", "runner_path"]
