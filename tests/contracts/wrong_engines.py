"""Engines that each break one promise of their role, and the test of the suite that has to notice.

Run by test_suites_notice.py and not collected by itself: nearly everything here fails. Each wrong engine is a right one with one method changed.
"""

from __future__ import annotations

import asyncio
import html
import itertools
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from msgspec.structs import replace
from packaging.version import Version

from pkgindex_core.changes import DropProject, PutFile
from pkgindex_core.clock import SystemClock, Timestamp
from pkgindex_core.engines.advisories.book import FiledBook
from pkgindex_core.engines.behind import BlobsBehind, IndexBehind
from pkgindex_core.engines.hosted_source import HostedSource
from pkgindex_core.engines.htpasswd.hashes import HtpasswdComparing
from pkgindex_core.engines.local.named_files import LocalNamedFiles
from pkgindex_core.engines.memory.blobs import MemoryBlobs
from pkgindex_core.engines.memory.catalogue import MemoryCatalogue
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.engines.sigstore.verifier import SigstoreVerifier
from pkgindex_core.formats.html_page import HtmlRenderer
from pkgindex_core.formats.json_page import JsonRenderer
from pkgindex_core.models import Serial
from pkgindex_core.protocols import Freshness, IndexOption, IndexType, Names, Ruling, Span, Touched
from pkgindex_core.protocols.measuring import Figures, Meter
from pkgindex_core.protocols.sources import FilePart
from pkgindex_core.rules.admission import FirstMirror, MirrorWhitelist
from pkgindex_core.rules.option_values import boolean
from pkgindex_core.services.administering.user_passwords import UserPasswords
from pkgindex_core.testing import index_store as suites
from pkgindex_core.testing.clocks import ClockContract
from pkgindex_core.testing.followers import FollowerContract
from pkgindex_core.testing.index_options import IndexOptionContract, IndexTypeContract
from pkgindex_core.testing.page_filters import PageFilterContract
from pkgindex_core.testing.passwords import PasswordHashingContract, PasswordsContract, PlainPasswords, SlowHashing
from pkgindex_core.testing.samples import sample_file
from pkgindex_core.testing.source_cases.base import some_turns
from pkgindex_core.testing.upload_checks import UploadCheckContract
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_core.tools.passwords import PasswordPool
from pkgindex_mirror.readthrough.source import ReadThrough
from pkgindex_mirror.sending.publishing import HttpPublisher
from pkgindex_mirror.upstreams.sites import usable_site
from pkgindex_mirror.upstreams.upstream_answers import Document
from tests.contracts import test_blob_stores as blob_stores
from tests.contracts import test_catalogues as catalogues
from tests.contracts import test_identity as identity
from tests.contracts import test_index_stores as index_stores
from tests.contracts import test_named_files as named_files
from tests.contracts import test_policies as policies
from tests.contracts import test_sources as sources
from tests.core.engines import test_sigstore as verifiers
from tests.core.engines.advisories import test_book as books
from tests.mirror import test_contracts as abroad
from tests.mirror import test_source as mirrored

# Filters.


class Words:
    """Hides files with a word in their name."""

    by_release = False

    def __init__(self, word):
        self.word = word

    @property
    def fingerprint(self):
        return f"words:{self.word}"

    def cut_off(self, tree, start, moment):
        return Timestamp(0)

    def applies(self, tree, start):
        return start in tree.indexes

    def withheld(self, tree, start, origin, project):
        return None

    def judge(self, origin, file, build):
        found = self.applies(build.tree, build.start) and self.word in file.filename
        return Ruling(reason=f"it has {self.word}") if found else None


class WordsSuite(PageFilterContract):
    Engine: ClassVar[Any] = Words
    hides = sample_file("demo-1.0-odd.zip")
    shows = sample_file("demo-1.0.zip")

    def make(self):
        return self.Engine("odd")

    def others(self):
        return [self.Engine("demo")]


class TestRightWords(WordsSuite):
    noticed_by = ()


class TestFickleFilter(WordsSuite):
    noticed_by = ("test_the_same_question_has_the_same_answer",)

    class Engine(Words):
        seen: ClassVar[set[Any]] = set()

        def judge(self, origin, file, build):
            again = (origin, file.filename, build.project) in self.seen
            self.seen.add((origin, file.filename, build.project))
            return super().judge(origin, file, build) if again else None


class TestFilterThatReadsNoOddFiles(WordsSuite):
    noticed_by = ("test_the_same_question_has_the_same_answer",)

    class Engine(Words):
        def judge(self, origin, file, build):
            return (
                Ruling(reason="a pre-release")
                if Version(file.version).is_prerelease
                else super().judge(origin, file, build)
            )


class TestFilterWithOneFingerprint(WordsSuite):
    noticed_by = ("test_filters_that_decide_differently_have_different_fingerprints",)

    class Engine(Words):
        fingerprint = "words"


class TestFilterThatWatchesTheClock(WordsSuite):
    noticed_by = ("test_time_counts_only_as_far_as_the_cut_off_says",)

    class Engine(Words):
        def judge(self, origin, file, build):
            return Ruling(reason=f"at {build.moment}") if build.moment else super().judge(origin, file, build)


class TestFilterThatKnowsEveryIndex(WordsSuite):
    noticed_by = ("test_it_says_of_every_index_whether_it_applies",)

    class Engine(Words):
        def applies(self, tree, start):
            return not tree.indexes[start].mirrored


# Admission.


class TestEagerPolicy(policies.TestMirrorWhitelist):
    noticed_by = ("test_what_a_mirror_is_known_to_hold_does_not_decide_whether_it_is_asked",)

    def make(self):
        class Eager(MirrorWhitelist):
            def admit(self, tree, order, standings, project):
                verdicts = super().admit(tree, order, standings, project)
                return tuple(
                    replace(verdict, joins=verdict.joins and standing.holds)
                    for verdict, standing in zip(verdicts, standings, strict=True)
                )

        return Eager()


class TestPolicyThatChangesItsMind(policies.TestMirrorWhitelist):
    noticed_by = ("test_no_layer_is_let_in_that_was_not_asked",)

    def make(self):
        class LetsIn(MirrorWhitelist):
            def settle(self, tree, order, standings, verdicts, project, unknown):
                return tuple(replace(verdict, joins=True) for verdict in verdicts)

        return LetsIn()


class TestPolicyThatForgetsTheTurn(policies.TestFirstMirror):
    noticed_by = ("test_no_layer_is_let_in_whose_turn_did_not_come",)

    def make(self):
        class Forgets(FirstMirror):
            settle = MirrorWhitelist.settle

        return Forgets()


class TestPolicyThatLetsOurOwnWait(policies.TestFirstMirror):
    noticed_by = ("test_only_mirrors_are_asked_in_turn",)

    def make(self):
        class Waits(FirstMirror):
            def admit(self, tree, order, standings, project):
                return tuple(
                    replace(each, in_turn=each.joins) for each in super().admit(tree, order, standings, project)
                )

        return Waits()


class TestPolicyUnderAnothersName(policies.TestMirrorWhitelist):
    noticed_by = ("test_policies_that_decide_differently_have_different_fingerprints",)

    def others(self):
        class Borrowed(FirstMirror):
            fingerprint = MirrorWhitelist().fingerprint

        return [Borrowed()]


# Renderers.


class TestRendererThatTrustsStrangers(policies.TestHtmlRenderer):
    noticed_by = ("test_what_strangers_wrote_stays_text",)

    def make(self):
        class Unescaped(HtmlRenderer):
            def page(self, page):
                return html.unescape(super().page(page).decode()).encode("ascii", "xmlcharrefreplace")

        return Unescaped()


class TestRendererThatCounts(policies.TestHtmlRenderer):
    noticed_by = ("test_the_same_page_is_the_same_bytes",)
    counter = itertools.count()

    def make(self):
        class Counts(HtmlRenderer):
            def page(self, page):
                return super().page(page) + f"<!-- {next(TestRendererThatCounts.counter)} -->".encode()

        return Counts()


class TestRendererThatForgetsTheComma(policies.TestJsonRenderer):
    noticed_by = ("test_a_list_is_the_same_in_one_part_and_in_many",)

    def make(self):
        class NoComma(JsonRenderer):
            def list_part(self, part, *, first):
                return super().list_part(part, first=True)

        return NoComma()


# Upload checks.


class NoPreReleases:
    def problems(self, upload):
        return ["it is a pre-release"] if Version(upload.file.version).is_prerelease else []


class CheckSuite(UploadCheckContract):
    Engine: ClassVar[Any] = NoPreReleases
    refuses = build_wheel("demo", "1.0rc1")
    passes = build_wheel("demo", "1.0")

    def make(self):
        return self.Engine()


class TestRightCheck(CheckSuite):
    noticed_by = ()


class TestCheckThatSaysText(CheckSuite):
    noticed_by = ("test_one_upload_is_refused_with_reasons_and_another_passes",)

    class Engine(NoPreReleases):
        def problems(self, upload):
            return "".join(super().problems(upload))


class TestCheckThatRemembers(CheckSuite):
    noticed_by = ("test_the_same_upload_has_the_same_findings",)

    class Engine(NoPreReleases):
        def __init__(self):
            self.seen = set()

        def problems(self, upload):
            again = upload.path in self.seen
            self.seen.add(upload.path)
            return ["it was here before"] if again else super().problems(upload)


class TestCheckThatWrites(CheckSuite):
    noticed_by = ("test_one_upload_is_refused_with_reasons_and_another_passes",)

    class Engine(NoPreReleases):
        def problems(self, upload):
            upload.path.with_suffix(".checked").touch()
            return super().problems(upload)


class TestCheckThatNeedsAForm(CheckSuite):
    noticed_by = ("test_a_form_may_say_nothing",)

    class Engine(NoPreReleases):
        def problems(self, upload):
            return ["no name"] if not upload.form.fields["name"] else super().problems(upload)


# Who asks.


class TestAuthenticatorThatJudgesAll(identity.TestUserPasswords):
    noticed_by = ("test_what_is_not_its_own_is_left_to_others",)

    async def open_authenticator(self, context):
        class Judge(UserPasswords):
            async def authenticate(self, credentials):
                return await super().authenticate(credentials) or "refused"

        return Judge(context)


class TestAuthenticatorThatKnowsTooSoon(identity.TestUserPasswords):
    noticed_by = ("test_an_unknown_user_costs_what_a_wrong_secret_costs",)

    async def open_authenticator(self, context):
        class Quick(UserPasswords):
            async def authenticate(self, credentials):
                known = await context.index_store.user(credentials.username)
                return await super().authenticate(credentials) if known else None

        return Quick(context)


class TestAuthenticatorThatChokes(identity.TestUserPasswords):
    noticed_by = ("test_garbage_is_nobody",)

    async def open_authenticator(self, context):
        class Chokes(UserPasswords):
            async def authenticate(self, credentials):
                credentials.username.encode("ascii")
                return await super().authenticate(credentials)

        return Chokes(context)


class TestDirectoryThatIsAwayAndSaysWrong(identity.TestLdap):
    noticed_by = ("test_what_cannot_be_asked_is_unknown_and_not_wrong",)

    async def go_away(self):
        self.directory.verify = lambda username, password: "rejected"


class TestAuthenticatorWhoseStateStays(identity.TestHtpasswd):
    noticed_by = ("test_the_state_changes_with_a_verdict",)

    async def open_authenticator(self, context):
        made = await super().open_authenticator(context)

        async def state():
            return "as ever"

        made.state = state
        return made


class TestAuthenticatorThatTellsAFormerState(identity.TestHtpasswd):
    noticed_by = ("test_a_former_state_is_not_told_at_once",)

    async def open_authenticator(self, context):
        made = await super().open_authenticator(context)
        made.state_at_once = lambda: made._file._look
        return made


class TestAuthenticatorThatAlwaysWaits(identity.TestHtpasswd):
    noticed_by = ("test_a_state_that_was_just_told_is_told_at_once", "test_a_former_state_is_not_told_at_once")

    async def open_authenticator(self, context):
        made = await super().open_authenticator(context)
        made.state_at_once = lambda: None
        return made


class TestAuthenticatorThatTellsAnotherStateAtOnce(identity.TestHtpasswd):
    noticed_by = (
        "test_what_is_told_at_once_is_the_state",
        "test_a_state_that_was_just_told_is_told_at_once",
        "test_a_former_state_is_not_told_at_once",
    )

    async def open_authenticator(self, context):
        made = await super().open_authenticator(context)
        made.state_at_once = lambda: "another"
        return made


class TestComparingThatTakesDamage(identity.TestHtpasswdHashes):
    noticed_by = ("test_what_is_no_hash_never_matches",)

    def make(self):
        class Trusting(HtpasswdComparing):
            def verify(self, password_hash, password):
                return password_hash == password or super().verify(password_hash, password)

        return Trusting()


class QuickHashing:
    """Right, but for what a subclass changes."""

    salts = itertools.count()

    def hash(self, password):
        return f"quick${next(self.salts)}${hash(password)}"

    def verify(self, password_hash, password):
        return password_hash.startswith("quick$") and password_hash.endswith(f"${hash(password)}")

    def outdated(self, password_hash):
        return False


class TestHashingWithoutSalt(PasswordHashingContract):
    noticed_by = ("test_each_hash_has_a_salt_of_its_own_and_does_not_show_the_password",)

    def make(self):
        class Unsalted(QuickHashing):
            salts = itertools.repeat(1)

        return Unsalted()


class TestHashingThatTellsByTime(PasswordHashingContract):
    noticed_by = ("test_no_hash_takes_as_long_as_a_hash",)

    def make(self):
        class Hasty(SlowHashing):
            def verify(self, password_hash, password):
                return bool(password_hash) and super().verify(password_hash, password)

        return Hasty()


class TestPasswordsWithoutBound(PasswordsContract):
    noticed_by = (
        "test_only_a_few_are_hashed_at_once",
        "test_a_flood_is_turned_away_and_leaves_nothing_behind",
    )

    def open_passwords(self, hashing: Any, workers: Executor):
        class Unbound(PasswordPool):
            async def verify(self, password_hash, password):
                call = asyncio.get_running_loop().run_in_executor
                return len(password) < 1000 and await call(workers, hashing.verify, password_hash, password)

        return Unbound(hashing, workers)


class TestPasswordsThatTakeAnything(PasswordsContract):
    noticed_by = ("test_an_empty_password_is_refused_unless_it_is_allowed",)

    def open_passwords(self, hashing: Any, workers: Executor):
        class Lax(PlainPasswords):
            async def hash(self, password, *, may_be_empty=False):
                return await super().hash(password, may_be_empty=True)

        return Lax()


class TestClockInSeconds(ClockContract):
    noticed_by = ("test_wall_time_is_in_microseconds_since_1970",)

    def make(self):
        class Seconds(SystemClock):
            def now(self):
                return super().now() // 1_000_000

        return Seconds()


class TestClockThatGoesBack(ClockContract):
    noticed_by = ("test_monotonic_time_is_in_seconds_and_never_goes_back",)

    def make(self):
        class Jumps(SystemClock):
            def monotonic(self):
                return -super().monotonic()

        return Jumps()


# Types and options of indexes.


class OptionSuite(IndexOptionContract):
    key = "answer"
    accepts = (42, "42")
    refuses = ("many",)

    def make(self):
        return IndexOption(parse=self.parse)


class TestOptionThatRaises(OptionSuite):
    noticed_by = ("test_garbage_is_refused_or_means_something",)

    def parse(self, value):
        return int(value)


class TestOptionThatTakesAnything(OptionSuite):
    noticed_by = ("test_what_it_refuses_is_refused_with_a_sentence",)

    def parse(self, value):
        return str(value)[:10].encode("ascii", "replace").decode()


class TestOptionThatIsReadOtherwise(OptionSuite):
    noticed_by = ("test_a_value_is_read_back_as_it_was_kept",)

    def parse(self, value):
        return f"<{value!a}>"[:100]


class TestOptionThatTellsItsSecret(OptionSuite):
    noticed_by = ("test_a_secret_is_not_repeated",)
    accepts = ("yes",)

    def make(self):
        return IndexOption(parse=boolean, secret=True)


class TestTypeOfNoType(IndexTypeContract):
    noticed_by = ("test_its_options_are_those_of_a_type_that_everybody_has",)
    kind = "shelf"

    def make(self):
        return IndexType(options_of="nothing")


class TestTypeThatIsAnother(IndexTypeContract):
    noticed_by = ("test_an_index_knows_what_its_type_means_without_the_plugin",)
    kind = "shelf"
    made_types: ClassVar[Iterator[bool]] = itertools.cycle([True, False])

    def make(self):
        return IndexType(mirrored=next(self.made_types))


# Publishers, followers, examiners, doubters.


class TestPublisherThatGivesUp(abroad.TestHttpPublisher):
    noticed_by = ("test_what_is_not_accepted_is_told_and_the_next_is_sent",)

    async def open_publisher(self, context):
        class GivesUp(HttpPublisher):
            async def push(self, destination, release, *, register=False):
                return (await super().push(destination, release, register=register))[:1]

        return GivesUp(blob_store=context.blob_store, settings=abroad.SETTINGS)


class TestPublisherThatTakesAll(abroad.TestHttpPublisher):
    noticed_by = ("test_it_takes_its_own_urls_and_no_others",)

    async def open_publisher(self, context):
        class TakesAll(HttpPublisher):
            def takes(self, url):
                return True

        return TakesAll(blob_store=context.blob_store, settings=abroad.SETTINGS)


class Follows:
    """Notes the names of the files that are put."""

    def __init__(self, context, done: list[str]):
        self.store, self.place, self.done = context.index_store, context.data / "place", done

    def begins_at(self, head):
        return int(self.place.read_text()) if self.place.exists() else head

    async def follow(self):
        after = Serial(self.begins_at(await self.store.head()))
        while True:
            for commit in await self.store.commits(after):
                self.act(commit)
                after = commit.serial
            self.place.write_text(str(after))
            await self.store.wait(after, timeout=10)

    def act(self, commit):
        self.done += [change.file.filename for change in commit.changes if isinstance(change, PutFile)]

    async def close(self):
        pass


class FollowerSuite(FollowerContract):
    Engine: ClassVar[Any] = Follows

    async def begin(self):
        self.acted: list[str] = []
        return await super().begin()

    async def open_follower(self, context):
        return self.Engine(context, self.acted)

    def done(self) -> Sequence[str]:
        return self.acted


class TestRightFollower(FollowerSuite):
    noticed_by = ()


class TestFollowerThatBeginsAnew(FollowerSuite):
    noticed_by = ("test_a_restart_leaves_nothing_out_and_does_not_repeat_everything",)

    class Engine(Follows):
        def begins_at(self, head):
            return 0


class TestFollowerThatEnds(FollowerSuite):
    noticed_by = ("test_what_is_committed_is_acted_on_in_order",)

    class Engine(Follows):
        def act(self, commit):
            super().act(commit)
            if len(self.done) > 20:
                raise RuntimeError("enough")


class TestExaminerThatTellsThePassword(abroad.TestExamination):
    noticed_by = ("test_what_is_wrong_is_a_sentence_without_secrets",)

    async def open_examiner(self, context):
        class Telling(ReadThrough):
            async def examine(self, index):
                said = await super().examine(index)
                return said and f"{said} {index.options['mirror_credentials']}"

        return abroad.opened(Telling, context)


class TestSourceThatCountsByProject(abroad.TestCounts):
    noticed_by = ("test_labels_do_not_name_projects",)

    async def open_measured(self, context):
        meter = Meter("pkgindex_asked_total", "counter", ("project",), "Requests for each project.")

        class Naming(ReadThrough):
            asked: ClassVar[dict[tuple[str, ...], float]] = {}

            async def refresh(self, index, project, standing, *, again=False):
                self.asked[(project,)] = self.asked.get((project,), 0) + 1
                return await super().refresh(index, project, standing, again=again)

            async def figures(self, indexes):
                return [*await super().figures(indexes), Figures(meter, dict(self.asked))]

        return abroad.opened(Naming, context)


class TestProvenanceThatIsBelieved(abroad.TestProvenance):
    noticed_by = (
        "test_what_is_no_provenance_is_not_passed_on",
        "test_the_provenance_of_another_file_is_not_passed_on",
        "test_what_was_wrong_is_asked_for_again",
    )

    async def open_proving(self, context):
        class Believing(ReadThrough):
            async def provenance(self, index, project, file):
                answer = await self._client.document(usable_site(index), file.provenance, accept="*/*")
                if isinstance(answer, Document):
                    return answer.body, self_.publisher
                return await super().provenance(index, project, file)

        self_ = self
        return abroad.opened(Believing, context)


class TestVerifierThatReadsOnly(verifiers.TestSigstoreVerifier):
    noticed_by = ("test_what_was_changed_is_refused",)

    def make(self):
        class Reading(SigstoreVerifier):
            def verify(self, attestation):
                document = json.loads(attestation)
                return super().verify(
                    verifiers.TestSigstoreVerifier.attestation
                    if isinstance(document, dict) and "envelope" in document
                    else attestation
                )

        return Reading()


class TestBookThatForgetsWhatWasWithdrawn(books.TestFiledBook):
    noticed_by = (
        "test_advisories_about_a_project_are_in_the_order_of_their_identifiers",
        "test_an_advisory_says_what_its_record_says",
    )

    async def make(self, place, records):
        class Forgetting(FiledBook):
            def about(self, project):
                return [each for each in super().about(project) if not each.withdrawn]

        await super().make(place, records)
        return Forgetting(place)


class TestCatalogueThatKeepsWhatWasDropped(catalogues.TestMemoryCatalogue):
    noticed_by = ("test_what_was_dropped_is_not_found",)

    async def open_catalogue(self):
        class Keeping(MemoryCatalogue):
            async def apply(self, update, *, after):
                return await super().apply(replace(update, drop=()), after=after)

        return Keeping()


class TestExcerptOfTheNextBytes(mirrored.TestExcerpts):
    noticed_by = ("test_a_part_is_what_was_wanted_and_fetches_nothing",)

    class Engine(ReadThrough):
        async def open_part(self, index, project, file, wanted):
            part = await super().open_part(index, project, file, wanted)
            return replace(part, data=part.data[1:] + b"?") if isinstance(part, FilePart) else part


class TestExcerptThatFetches(mirrored.TestExcerpts):
    noticed_by = ("test_a_part_is_what_was_wanted_and_fetches_nothing", "test_the_size_may_be_asked_for_alone")

    class Engine(ReadThrough):
        async def open_part(self, index, project, file, wanted):
            return await self.open(index, project, file)


class TestExcerptOfWhatIsStored(mirrored.TestExcerpts):
    noticed_by = ("test_a_stored_file_is_opened",)

    class Engine(ReadThrough):
        async def open_part(self, index, project, file, wanted):
            return await self._files._parts.read(usable_site(index), file, wanted, None)


class TestExcerptOfUnknownBytes(mirrored.TestExcerpts):
    noticed_by = ("test_a_file_of_unknown_digest_has_no_part",)

    class Engine(ReadThrough):
        async def open_part(self, index, project, file, wanted):
            known = replace(file, digests={"sha256": "0" * 64}) if not file.digests else file
            return await super().open_part(index, project, known, wanted)


class TestExcerptOfTheWhole(mirrored.TestExcerpts):
    noticed_by = ("test_the_whole_file_is_no_part",)

    class Engine(ReadThrough):
        async def open_part(self, index, project, file, wanted):
            return await super().open_part(index, project, file, lambda size: wanted(size) or Span(size - 1, size))


class TestExcerptOfTheLastSize(mirrored.TestExcerpts):
    noticed_by = ("test_an_upstream_that_is_away_has_no_parts",)

    class Engine(ReadThrough):
        async def open_part(self, index, project, file, wanted):
            if wanted(file.size) == Span(0, 0):
                return FilePart(size=file.size, span=Span(0, 0), data=b"")
            return await super().open_part(index, project, file, wanted)


class TestDoubterThatIsDeaf(mirrored.TestDoubts):
    noticed_by = ("test_the_next_request_asks_though_the_answer_is_new", "test_an_absence_is_doubted_too")

    class Engine(ReadThrough):
        def doubt(self, index, project):
            pass


class TestDoubterThatBelievesAnAbsence(mirrored.TestDoubts):
    noticed_by = ("test_an_absence_is_doubted_too",)

    class Engine(ReadThrough):
        def doubt(self, index, project):
            check = self._checks.get(index, project or "")
            if check is None or check.outcome != "absent":
                super().doubt(index, project)


class TestDoubterThatKnowsOnlyWhatWasAsked(mirrored.TestDoubts):
    noticed_by = ("test_a_doubt_of_what_nobody_asked_for_changes_nothing",)

    class Engine(ReadThrough):
        def doubt(self, index, project):
            assert self._checks.get(index, project or "") is not None
            super().doubt(index, project)


class TestDoubterThatDropsFirst(mirrored.TestDoubts):
    noticed_by = ("test_nothing_that_is_stored_is_dropped", "test_it_lasts_until_the_upstream_has_answered")

    class Engine(ReadThrough):
        async def refresh(self, index, project, standing, *, again=False):
            if self._doubts.of(index.name, project) is not None and standing.holds:
                await self._store.apply([DropProject(index.name, project)], who="[doubt]")
                (standing,) = await self._store.standings(project, [index.name])
            return await super().refresh(index, project, standing, again=again)


class TestDoubterThatIsContentWithSilence(mirrored.TestDoubts):
    noticed_by = ("test_nothing_that_is_stored_is_dropped", "test_it_lasts_until_the_upstream_has_answered")

    class Engine(ReadThrough):
        async def refresh(self, index, project, standing, *, again=False):
            said = await super().refresh(index, project, standing, again=again)
            return Freshness(state="fresh") if said.state == "stale" else said


class TestDoubterThatTakesAnyAnswer(mirrored.TestDoubts):
    noticed_by = ("test_an_answer_to_an_earlier_question_does_not_end_it",)

    class Engine(ReadThrough):
        async def refresh(self, index, project, standing, *, again=False):
            said = await super().refresh(index, project, standing, again=again)
            await some_turns(200)
            self._doubts.settle(index.name, project, self._doubts.of(index.name, project))
            return said


class TestDoubterOfTheListToo(mirrored.TestDoubts):
    noticed_by = ("test_a_project_is_doubted_by_itself",)

    class Engine(ReadThrough):
        def doubt(self, index, project):
            super().doubt(index, project)
            super().doubt(index, None)


class TestDoubterOfProjectsOnly(mirrored.TestDoubts):
    noticed_by = ("test_the_list_is_doubted_by_itself",)

    class Engine(ReadThrough):
        def doubt(self, index, project):
            if project is not None:
                super().doubt(index, project)


# Stores and sources: those in memory with one method changed.


class WrongStore(index_stores.InMemory):
    Engine: ClassVar[type[MemoryIndex]] = MemoryIndex

    async def open_store(self, context):
        return self.Engine(context.clock)


class TestTreesWithoutAPast(WrongStore, suites.TreesContract):
    noticed_by = ("test_past_trees_stay_readable",)

    class Engine(MemoryIndex):
        async def tree(self, *, at=None):
            return await super().tree()


class TestProjectsOutOfOrder(WrongStore, suites.ProjectsContract):
    noticed_by = ("test_standings_follow_the_order",)

    class Engine(MemoryIndex):
        async def standings(self, project, order, *, at=None):
            return await super().standings(project, sorted(order), at=at)


class TestChangesWithoutWhatHasGone(WrongStore, suites.PageChangesContract):
    noticed_by = (
        "test_changes_lead_from_each_past_page_to_the_present_one",
        "test_files_that_stay_are_not_read",
    )

    class Engine(MemoryIndex):
        async def page_since(self, index, project, since):
            found = await super().page_since(index, project, since)
            return replace(found, gone=()) if found is not None else None


class TestNamesFromTheBeginning(WrongStore, suites.ListedNamesContract):
    noticed_by = ("test_a_list_may_begin_behind_a_name",)

    class Engine(MemoryIndex):
        async def listed_names(self, index, *, after=""):
            async for batch in super().listed_names(index):
                yield batch


class TestReleasesByTheirSpelling(WrongStore, suites.ReleaseRecordsContract):
    noticed_by = ("test_one_version_is_found_replaced_and_dropped_in_any_spelling",)

    class Engine(MemoryIndex):
        async def release(self, index, project, version, *, at=None):
            found = await super().release(index, project, version, at=at)
            return found if found and found.version == version else None


class TestAccountsOutOfOrder(WrongStore, suites.AccountsContract):
    noticed_by = ("test_users_are_listed_by_name",)

    class Engine(MemoryIndex):
        async def users(self, *, at=None):
            return list(await super().users(at=at))[::-1]


class TestLogThatTouchesNothing(WrongStore, suites.ChangeLogContract):
    noticed_by = ("test_each_change_touches_what_the_rule_says",)

    class Engine(MemoryIndex):
        async def touched(self, after):
            return Touched()


class TestWriterWithoutConditions(WrongStore, suites.IndexWriterContract):
    noticed_by = ("test_a_requirement_that_fails_stops_the_write",)

    class Engine(MemoryIndex):
        async def apply(self, changes, *, who, require=()):
            return await super().apply(changes, who=who)


class TestReplayWithoutDoing(WrongStore, suites.ReplayingContract):
    noticed_by = ("test_a_replayed_store_is_the_store",)

    class Engine(MemoryIndex):
        async def replay(self, commits):
            pass


class TestNotesThatCompareNothing(WrongStore, suites.NotesContract):
    noticed_by = ("test_a_note_is_written_only_over_the_expected_version",)

    class Engine(MemoryIndex):
        async def put_note(self, kind, key, value, *, seconds=None, expected=None):
            return await super().put_note(kind, key, value, seconds=seconds)


class TestKeeperThatNamesNoBlobs(WrongStore, suites.KeepingContract):
    noticed_by = ("test_blobs_in_use_are_those_of_live_files",)

    class Engine(MemoryIndex):
        async def blobs_in_use(self):
            yield []


class TestIndexThatLearnsNothing(index_stores.Behind, WrongStore):
    noticed_by = ("test_what_was_learned_is_seen_at_once_and_stored_behind",)

    async def open_store(self, context):
        class Deaf(IndexBehind):
            async def learn(self, change, *, index, seen, who, lost):
                pass

        return Deaf(MemoryIndex(context.clock), linger=60)


class TestBlobsThatAreStoredAtOnce(blob_stores.TestLearnedBlobs):
    noticed_by = ("test_what_was_learned_is_read_at_once_and_stored_behind",)

    async def open_store(self, context):
        class AtOnce(BlobsBehind):
            async def learn(self, data):
                return await self.put(data)

        await super().open_store(context)
        return AtOnce(self.memory, clock=context.clock)


class TestBlobsThatDropNothing(blob_stores.TestMemoryBlobs):
    noticed_by = ("test_dropped_bytes_are_gone",)

    async def open_store(self, context):
        class Keeps(MemoryBlobs):
            async def drop(self, key, *, modified=None):
                return key in self.blobs

        self.memory = Keeps(clock=context.clock, spools=context.data / "memory-staging")
        return self.memory


class TestFilesForEverybodyAtOnce(named_files.TestLocalNamedFiles):
    noticed_by = ("test_one_has_the_turn",)

    async def open_files(self):
        class Open(LocalNamedFiles):
            @asynccontextmanager
            async def turn(self):
                yield

        return Open(self.root, subject="this test", workers=self.workers)


class TestSourceWithoutNames(sources.TestHostedSource):
    noticed_by = ("test_the_names_are_those_that_there_are",)

    async def open_source(self, context):
        class Nameless(HostedSource):
            async def names(self, index, *, ask=True):
                async def read(after):
                    yield []

                return Names(read=read)

        return Nameless(store=self.store, blobs=context.blob_store)
