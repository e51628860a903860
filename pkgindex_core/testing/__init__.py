"""For authors of plugins: a contract suite for each role, fault injectors, tiny wheels. README.md here explains their use."""

import pkgindex_core.testing.rewriting  # noqa: F401 - makes pytest explain failing assertions of the suites
