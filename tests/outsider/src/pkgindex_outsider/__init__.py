"""A plugin for pkgindex by somebody who has only its documentation."""
