"""What each change means, once more and plainly: a store of nested dicts that is changed in place, one change after the other.

It knows nothing of facts, keys and effects, and shares no code with `rules.planning`, apart from the wording of refusals and the format of
kept pages. A list of changes is applied to a copy, so one that does not fit leaves no trace.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field, replace

import msgspec

from pkgindex_core import changes as c
from pkgindex_core.errors import Missing
from pkgindex_core.formats.kept_pages import KeptRows, page_content
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import Attachment, File, IndexConfig, PageHead, Release, Token, User, decode_file
from pkgindex_core.names import IndexName, ProjectName, owner
from pkgindex_core.rules import change_rules


@dataclass
class Project:
    stamp: int = 0
    since: int = 0
    mirrored: bool = False
    holds: bool = False
    head: PageHead = PageHead()  # noqa: RUF009 - a frozen value
    content: str = ""
    files: dict[str, File] = field(default_factory=dict)
    kept: KeptRows | None = None
    past: list[tuple[int, Project]] = field(default_factory=list)
    """What it was, each with the commit that ended it. Nothing goes because it is old."""
    is_emptied: bool = False
    leaves_past: bool = False
    """The commit that is being made ends what it was before, which stays."""
    releases: dict[str, Release] = field(default_factory=dict)
    attachments: dict[str, Attachment] = field(default_factory=dict)


@dataclass
class Index:
    config: IndexConfig | None = None
    projects: dict[ProjectName, Project] = field(default_factory=dict)
    tombstones: dict[str, tuple[ProjectName, str | None]] = field(default_factory=dict)
    names: dict[ProjectName, str] = field(default_factory=dict)
    listed: int = 0
    validators: dict[str, str] = field(default_factory=dict)

    def holder(self, filename: str) -> ProjectName | None:
        hosted = (name for name, it in self.projects.items() if not it.mirrored and filename in it.files)
        return next(hosted, None)

    def bury(self, project: ProjectName, filename: str) -> None:
        self.tombstones[filename] = (project, self.projects[project].files.pop(filename).sha256)


@dataclass
class PlainStore:
    serial: int = 0
    tree: int = 0
    users: dict[str, User] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    indexes: dict[IndexName, Index] = field(default_factory=dict)

    def after(self, changes: Iterable[c.Change], require: Iterable[c.Requirement]) -> PlainStore:
        """The store with a list of changes as its next commit. Raises for one that does not fit."""
        for requirement in require:
            if not self.meets(requirement):
                raise change_rules.failed(requirement)
        store = deepcopy(self)
        store.serial += 1
        for change in changes:
            store.make(change)
        for name, index in store.indexes.items():
            for project, found in index.projects.items():
                before = self.index(name).projects.get(project, Project())
                if found.leaves_past and before.mirrored and before.since == found.since:
                    was = store.dropped(before) if found.is_emptied else replace(before, past=[])
                    found.past.append((store.serial, was))
                found.leaves_past = found.is_emptied = False
        return store

    def index(self, name: IndexName) -> Index:
        return self.indexes.setdefault(name, Index())

    def meets(self, requirement: c.Requirement) -> bool:
        match requirement:
            case c.FileAbsent(index, filename):
                return self.index(index).holder(filename) is None and filename not in self.index(index).tombstones
            case c.AttachmentAbsent(index, project, filename):
                return filename not in self.index(index).projects.get(project, Project()).attachments
            case c.ProjectAt(index, project, stamp, content):
                found = self.index(index).projects.get(project, Project())
                return found.stamp == stamp and content in {None, found.content}
            case c.UserAbsent(name):
                return name not in self.users
            case c.UserIs(user):
                return self.users.get(user.name) == user
            case c.IndexAbsent(name):
                return self.index(name).config is None
            case c.IndexPresent(name):
                return self.index(name).config is not None
            case c.IndexIs(config):
                return self.index(config.name).config == config
            case c.NoteIs(_, _, version):
                return version == 0

    def make(self, change: c.Change) -> None:
        match change:
            case c.PutUser() | c.DropUser() | c.PutToken() | c.DropToken():
                self.make_identity(change)
            case c.PutIndex() | c.DropIndex():
                self.make_tree(change)
            case c.MirrorPage() | c.DropMirrorPage() | c.MirrorNames():
                change_rules.take_mirrored(self.index(change.index).config, change.index)
                self.make_mirrored(self.index(change.index), change)
            case c.PutRelease() | c.DropRelease() | c.PutAttachment() | c.DropAttachment():
                change_rules.take_uploads(self.index(change.index).config, change.index)
                self.make_part(self.index(change.index), change)
            case _:
                change_rules.take_uploads(self.index(change.index).config, change.index)
                self.make_hosted(self.index(change.index), change)

    def make_identity(self, change: c.PutUser | c.DropUser | c.PutToken | c.DropToken) -> None:
        match change:
            case c.PutUser(user):
                self.users[user.name] = user
            case c.DropUser(name):
                if name not in self.users:
                    raise Missing("user", name)
                change_rules.user_is_free(
                    name, [index for index, it in self.indexes.items() if it.config and owner(index) == name]
                )
                del self.users[name]
                self.tokens = {token_id: token for token_id, token in self.tokens.items() if token.user != name}
            case c.PutToken(token):
                if token.user not in self.users:
                    raise Missing("user", token.user)
                self.tokens[token.id] = token
            case c.DropToken(token_id):
                if self.tokens.pop(token_id, None) is None:
                    raise Missing("token", token_id)

    def make_tree(self, change: c.PutIndex | c.DropIndex) -> None:
        match change:
            case c.PutIndex(config):
                if owner(config.name) not in self.users:
                    raise Missing("user", owner(config.name))
                change_rules.keep_type(self.index(config.name).config, config)
                self.index(config.name).config = config
            case c.DropIndex(name):
                index = self.index(name)
                if index.config is None:
                    raise Missing("index", name)
                for project, found in index.projects.items():
                    if found.mirrored or found.holds:
                        index.projects[project] = self.dropped(found)
                        index.projects[project].is_emptied = True
                self.indexes[name] = Index(projects=index.projects)
        self.tree = self.serial

    def dropped(self, found: Project) -> Project:
        stamp = max(self.serial, found.stamp + 1) if found.mirrored else self.serial
        return Project(stamp=stamp, since=found.since, mirrored=found.mirrored)

    def make_hosted(
        self, index: Index, change: c.PutProject | c.DropProject | c.PutFile | c.DropFile | c.YankFile
    ) -> None:
        project = change.project
        found = index.projects.get(project, Project())
        if isinstance(change, c.DropProject):
            if not found.holds:
                raise Missing("project", project)
            for filename in list(found.files):
                index.bury(project, filename)
            index.projects[project] = self.dropped(found)
            return
        if isinstance(change, c.DropFile | c.YankFile) and not (found.holds and change.filename in found.files):
            raise Missing("file", change.filename)
        if isinstance(change, c.PutFile):
            self.take_name(index, change)
        if not found.holds:
            name = change.display_name if isinstance(change, c.PutFile) else ""
            found = index.projects[project] = Project(head=PageHead(display_name=name))
        found = index.projects[project] = replace(found, stamp=self.serial, since=self.serial, holds=True)
        match change:
            case c.PutProject(head=head):
                found.head = head
            case c.PutFile(file=file):
                if file.filename in found.files and found.files[file.filename].sha256 != file.sha256:
                    _forget_results(found, file.filename)
                found.files[file.filename] = file
            case c.DropFile(filename=filename):
                index.bury(project, filename)
                _forget_results(found, filename)
            case c.YankFile(filename=filename, yanked=yanked):
                found.files[filename] = msgspec.structs.replace(found.files[filename], yanked=yanked)

    def take_name(self, index: Index, change: c.PutFile) -> None:
        change_rules.hosted_digest(change.file)
        name = change.file.filename
        buried, _ = index.tombstones.get(name, (change.project, None))
        change_rules.one_project(name, change.project, index.holder(name) or buried, change.index)
        index.tombstones.pop(name, None)

    def make_part(
        self, index: Index, change: c.PutRelease | c.DropRelease | c.PutAttachment | c.DropAttachment
    ) -> None:
        found = index.projects.get(change.project, Project())
        if not found.holds:
            raise Missing("project", change.project)
        match change:
            case c.PutRelease(release=release):
                found.releases[canonical_version(release.version)] = release
            case c.DropRelease(version=version):
                if found.releases.pop(canonical_version(version), None) is None:
                    raise Missing("version", version)
            case c.PutAttachment(attachment=attachment):
                change_rules.attachment_digest(attachment)
                if attachment.about and attachment.about not in found.files:
                    raise Missing("file", attachment.about)
                found.attachments[attachment.filename] = attachment
            case c.DropAttachment(filename=filename):
                if found.attachments.pop(filename, None) is None:
                    raise Missing("attachment", filename)

    def make_mirrored(self, index: Index, change: c.MirrorPage | c.DropMirrorPage | c.MirrorNames) -> None:
        match change:
            case c.MirrorPage():
                self.mirror_page(index, change)
            case c.DropMirrorPage(project=project):
                found = index.projects.get(project, Project())
                if not found.holds:
                    raise Missing("project", project)
                gone = self.dropped(found)
                gone.past, gone.is_emptied = found.past, found.is_emptied
                index.projects[project] = gone
                self.end(index, gone)
            case c.MirrorNames(put=put, drop=drop, validators=validators):
                for name in drop:
                    index.names.pop(name, None)
                index.names.update(put)
                index.validators = validators
                if put or drop or not index.listed:
                    index.listed = self.serial

    def mirror_page(self, index: Index, change: c.MirrorPage) -> None:
        found = index.projects.get(change.project, Project())
        if not found.mirrored:
            found = Project(since=self.serial, mirrored=True)
        if not found.holds and change.part in {"whole", "first"}:
            found = replace(found, files={}, kept=None)
        is_edited = bool(change.put or change.drop or change.kept)
        looks_new = is_edited or not (found.holds and change_rules.looks_the_same(found.head, change.head))
        files = {name: file for name, file in found.files.items() if name not in set(change.drop)}
        files |= {file.filename: file for file in change.put}
        kept = change_rules.kept_rows(found.kept, change)
        if kept is not None:
            files = {row.filename: decode_file(row.body) for row in kept}
        is_last = change.part in {"whole", "last"}
        page = replace(found, files=files, kept=kept, holds=is_last or found.holds)
        page.head = change.head if is_last else found.head
        if looks_new:
            page.stamp = max(self.serial, found.stamp + 1)
            page.content = page_content(page.head, kept) if kept is not None else ""
        page.stamp = change.stamp or page.stamp
        page.content = change.content or page.content
        index.projects[change.project] = page
        if looks_new or (page.stamp, page.content) != (found.stamp, found.content):
            self.end(index, page)

    def end(self, index: Index, found: Project) -> None:
        """Keep what a mirrored project was before this commit, or none of its past."""
        assert index.config is not None
        found.leaves_past = bool(index.config.options.get("mirror_history"))
        if not found.leaves_past:
            found.past = []


def _forget_results(project: Project, filename: str) -> None:
    project.attachments = {name: it for name, it in project.attachments.items() if it.about != filename}
