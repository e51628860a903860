"""Log-ins that an htpasswd file judges."""

from pkgindex_core.engines.htpasswd.settings import make_htpasswd

__all__ = ["make_htpasswd"]
