"""The pages and documents of a project of the made-up registry, in the forms of PyPI."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

import msgspec
from msgspec import Struct


class MadeFile(Struct, frozen=True, kw_only=True):
    """One file of a project."""

    filename: str
    version: str
    sha256: str
    blake2b: str
    md5: str
    size: int
    metadata_sha256: str
    """The digest of its sidecar; empty when it has none."""
    requires_python: str
    uploaded: int
    """Microseconds since 1970."""
    yanked: str = ""
    """The reason; empty when it is not yanked."""

    @property
    def path(self) -> str:
        return f"/packages/{self.blake2b[:2]}/{self.blake2b[2:4]}/{self.blake2b[4:]}/{self.filename}"


class MadeProject(Struct, frozen=True, kw_only=True):
    """A project as it is shown at one time."""

    name: str
    raw: str
    serial: int
    files: tuple[MadeFile, ...] = ()
    status: str = ""
    """The project status, such as `archived`; empty for an active project."""


def simple_json(project: MadeProject, url: str) -> bytes:
    """`/simple/NAME/` as JSON."""
    document: dict[str, Any] = {
        "files": [_simple_file(file, url) for file in project.files],
        "meta": {"_last-serial": project.serial, "api-version": "1.4"},
        "name": project.name,
        "project-status": {"status": project.status or "active"},
        "versions": _versions(project),
    }
    return msgspec.json.encode(document)


def simple_html(project: MadeProject, url: str) -> bytes:
    """`/simple/NAME/` as HTML."""
    lines = []
    for file in project.files:
        requires = f' data-requires-python="{escape(file.requires_python)}"' if file.requires_python else ""
        yanked = f' data-yanked="{escape(file.yanked)}"' if file.yanked else ""
        sidecar = f"sha256={file.metadata_sha256}"
        metadata = (
            f' data-dist-info-metadata="{sidecar}" data-core-metadata="{sidecar}"' if file.metadata_sha256 else ""
        )
        lines.append(
            f'<a href="{url}{file.path}#sha256={file.sha256}"{requires}{yanked}{metadata}>{escape(file.filename)}</a><br />\n'
        )
    status = f'<meta name="pypi:project-status" content="{escape(project.status or "active")}">\n'
    return html_page(f"Links for {project.raw}", f"{''.join(lines)}", status, f"<!--SERIAL {project.serial}-->\n")


def html_page(title: str, anchors: str, head: str = "", tail: str = "") -> bytes:
    """A page of anchors."""
    return (
        f'<!DOCTYPE html>\n<html>\n<head>\n<meta name="pypi:repository-version" content="1.4">\n{head}'
        f"<title>{escape(title)}</title>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n{anchors}</body>\n</html>\n{tail}"
    ).encode()


def document(project: MadeProject, url: str) -> bytes:
    """`/pypi/NAME/json`."""
    releases: dict[str, list[dict[str, Any]]] = {}
    for file in project.files:
        releases.setdefault(file.version, []).append(_document_file(file, url))
    versions = _versions(project)
    newest = versions[-1] if versions else ""
    page = f"{url}/project/{project.raw}/"
    info = {
        "author": "Anna Author",
        "author_email": "anna@example.org",
        "bugtrack_url": None,
        "classifiers": ["Programming Language :: Python :: 3"],
        "description": "",
        "description_content_type": "",
        "docs_url": None,
        "download_url": "",
        "downloads": {"last_day": -1, "last_month": -1, "last_week": -1},
        "dynamic": None,
        "home_page": "",
        "keywords": "",
        "license": "MIT",
        "license_expression": None,
        "license_files": None,
        "maintainer": "",
        "maintainer_email": "",
        "name": project.raw,
        "package_url": page,
        "platform": "",
        "project_url": page,
        "project_urls": None,
        "provides_extra": None,
        "release_url": f"{page}{newest}/",
        "requires_dist": None,
        "requires_python": "",
        "summary": f"{project.raw} for tests",
        "version": newest,
        "yanked": False,
        "yanked_reason": None,
    }
    return msgspec.json.encode(
        {
            "info": info,
            "last_serial": project.serial,
            "releases": releases,
            "urls": releases.get(newest, []),
            "vulnerabilities": [],
        }
    )


def _versions(project: MadeProject) -> list[str]:
    return list(dict.fromkeys(file.version for file in project.files))


def _simple_file(file: MadeFile, url: str) -> dict[str, Any]:
    sidecar: object = {"sha256": file.metadata_sha256} if file.metadata_sha256 else False
    return {
        "core-metadata": sidecar,
        "data-dist-info-metadata": sidecar,
        "filename": file.filename,
        "hashes": {"sha256": file.sha256},
        "provenance": None,
        "requires-python": file.requires_python or None,
        "size": file.size,
        "upload-time": _moment(file).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "url": f"{url}{file.path}",
        "yanked": file.yanked or False,
    }


def _document_file(file: MadeFile, url: str) -> dict[str, Any]:
    is_wheel = file.filename.endswith(".whl")
    moment = _moment(file)
    return {
        "comment_text": None,
        "core-metadata": {"sha256": file.metadata_sha256} if file.metadata_sha256 else False,
        "digests": {"blake2b_256": file.blake2b, "md5": file.md5, "sha256": file.sha256},
        "downloads": -1,
        "filename": file.filename,
        "has_sig": False,
        "md5_digest": file.md5,
        "packagetype": "bdist_wheel" if is_wheel else "sdist",
        "python_version": "py3" if is_wheel else "source",
        "requires_python": file.requires_python or None,
        "size": file.size,
        "upload_time": moment.strftime("%Y-%m-%dT%H:%M:%S"),
        "upload_time_iso_8601": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "url": f"{url}{file.path}",
        "yanked": bool(file.yanked),
        "yanked_reason": file.yanked or None,
    }


def _moment(file: MadeFile) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=file.uploaded)
