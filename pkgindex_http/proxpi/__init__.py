"""A read-through cache of other indexes, with proxpi's URLs and variables: `pkgindex-mirror proxy`. On when `[plugins.proxpi]` is configured."""
