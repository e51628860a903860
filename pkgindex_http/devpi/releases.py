"""Deletes projects and versions."""

from __future__ import annotations

from pkgindex_http.devpi.envelope import said
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply


async def may_delete_project(ask: Ask) -> None:
    """Check the right to delete the project. A non-volatile index needs `?force`."""
    await ask.engine.releases.may_delete_project(ask.index, ask.project, principal=ask.principal, force=_force(ask))


async def may_delete_release(ask: Ask) -> None:
    """Check the right to delete the version. A non-volatile index needs `?force`."""
    await ask.engine.releases.may_delete(ask.index, principal=ask.principal, force=_force(ask), project=ask.project)


async def delete_project(ask: Ask) -> Reply:
    """Delete a project from an index."""
    await ask.engine.releases.delete_project(ask.index, ask.project, principal=ask.principal, force=_force(ask))
    return said(f"project {ask.project} deleted from stage {ask.index}")


async def delete_release(ask: Ask) -> Reply:
    """Delete one version of a project from an index."""
    version = ask.values["version"]
    await ask.engine.releases.delete_release(
        ask.index, ask.project, version, principal=ask.principal, force=_force(ask)
    )
    return said(f"project {str(ask.project)!r} version {version!r} deleted")


def _force(ask: Ask) -> bool:
    return ask.query("force") is not None
