"""What tests of mirrors need: an upstream that behaves as its script says. Shipped, so that others may use it."""

from pkgindex_mirror.testing import behaviours
from pkgindex_mirror.testing.upstream import Answer, Behaviour, Raw, ScriptedUpstream

__all__ = ["Answer", "Behaviour", "Raw", "ScriptedUpstream", "behaviours"]
