"""Parameters whose tests run on request alone."""

from __future__ import annotations

from typing import Any

import pytest


def slow(*values: Any, **options: Any) -> Any:
    """A parameter of `pytest.mark.parametrize`; options: those of `pytest.param`."""
    return pytest.param(*values, marks=pytest.mark.slow, **options)
