"""For tests of mirrors: a scripted upstream. Part of the package, so that authors of plugins can use it."""

from pkgindex_mirror.testing import behaviours
from pkgindex_mirror.testing.upstream import Answer, Behaviour, Raw, ScriptedUpstream

__all__ = ["Answer", "Behaviour", "Raw", "ScriptedUpstream", "behaviours"]
