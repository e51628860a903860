"""The packages that the contract suites need besides this library: pytest, pytest-asyncio and hypothesis.

The suites import this module first, so that the error for a missing package says what to install. The tiny wheels, upload forms and
fault injectors need none of them.
"""

from __future__ import annotations

try:
    import hypothesis
    import pytest
    import pytest_asyncio
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"the contract suites of pkgindex need {error.name}, which is not installed:"
        " pip install pytest pytest-asyncio hypothesis",
        name=error.name,
    ) from error

__all__ = ["hypothesis", "pytest", "pytest_asyncio"]
