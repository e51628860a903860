"""A real LDAP directory for tests: OpenLDAP's slapd on loopback, with a few people in it.

Skipped where there is no slapd; `apt-get install slapd` brings one.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/lib/openldap:/usr/libexec"
SUFFIX = "dc=example,dc=org"
READER = f"cn=reader,{SUFFIX}"
SECRET = "reader's secret"

PEOPLE = f"""\
dn: {SUFFIX}
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: {READER}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: {SECRET}

dn: ou=people,{SUFFIX}
objectClass: organizationalUnit
ou: people

dn: uid=anna,ou=people,{SUFFIX}
objectClass: inetOrgPerson
uid: anna
cn: Anna A
sn: A
userPassword: anna's word

dn: uid=ben,ou=people,{SUFFIX}
objectClass: inetOrgPerson
uid: ben
cn: Ben B
sn: B
userPassword: ben's word

dn: uid=root,ou=people,{SUFFIX}
objectClass: inetOrgPerson
uid: root
cn: Not the root of the index
sn: R
userPassword: root's word

dn: uid=twin,ou=people,{SUFFIX}
objectClass: inetOrgPerson
uid: twin
cn: Twin
sn: T
userPassword: twin's word

dn: cn=other twin,ou=people,{SUFFIX}
objectClass: inetOrgPerson
uid: twin
cn: other twin
sn: T
userPassword: twin's word

dn: ou=groups,{SUFFIX}
objectClass: organizationalUnit
ou: groups

dn: cn=developers,ou=groups,{SUFFIX}
objectClass: groupOfNames
cn: developers
member: uid=anna,ou=people,{SUFFIX}
member: uid=ben,ou=people,{SUFFIX}

dn: cn=release managers,ou=groups,{SUFFIX}
objectClass: groupOfNames
cn: release managers
member: uid=anna,ou=people,{SUFFIX}
"""

# Only the reader searches for people; a member sees its groups; everybody may try a password.
# As Active Directory does, it lets in whoever binds with a name and without a password (RFC 4513 5.1.2).
CONFIGURATION = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
allow bind_anon_dn
pidfile {place}/slapd.pid
TLSCACertificateFile {place}/ca.pem
TLSCertificateFile {place}/server.pem
TLSCertificateKeyFile {place}/server.pem
database mdb
suffix "{suffix}"
rootdn "cn=admin,{suffix}"
directory {place}/data
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree="ou=groups,{suffix}" by users read by * none
access to * by dn.exact="{reader}" read by * none
"""


class Directory:
    """A running slapd."""

    def __init__(self, plain: str, encrypted: str, authority: Path) -> None:
        self.plain = plain
        self.encrypted = encrypted
        self.authority = authority

    def settings(self, **changed: Any) -> dict[str, Any]:
        """The table `[plugins.ldap]` for this directory."""
        return {
            "url": self.plain,
            "timeout": 5,
            "user_search": {
                "base": f"ou=people,{SUFFIX}",
                "filter": "(&(objectClass=inetOrgPerson)(uid={username}))",
                "attribute_name": "dn",
                "userdn": READER,
                "password": SECRET,
            },
            "group_search": {
                "base": f"ou=groups,{SUFFIX}",
                "filter": "(&(objectClass=groupOfNames)(member={userdn}))",
                "attribute_name": "cn",
            },
            **changed,
        }


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def directory() -> Iterator[Directory]:
    """A directory with anna (developers, release managers), ben (developers), root, and two entries called twin."""
    slapd, slapadd = (shutil.which(name, path=PATH) for name in ("slapd", "slapadd"))
    if slapd is None or slapadd is None:
        pytest.skip("slapd is not installed")
    with tempfile.TemporaryDirectory(prefix="slapd-") as name:
        place = Path(name)
        (place / "data").mkdir()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(place / "ca.pem")
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(place / "server.pem")
        (place / "slapd.conf").write_text(CONFIGURATION.format(place=place, suffix=SUFFIX, reader=READER))
        (place / "people.ldif").write_text(PEOPLE)
        subprocess.run(
            [slapadd, "-f", place / "slapd.conf", "-l", place / "people.ldif"], check=True, capture_output=True
        )
        plain, encrypted = free_port(), free_port()
        urls = f"ldap://127.0.0.1:{plain} ldaps://127.0.0.1:{encrypted}"
        # With -d it stays in the foreground.
        process = subprocess.Popen([slapd, "-f", place / "slapd.conf", "-h", urls, "-d", "0"])
        try:
            for port in (plain, encrypted):
                _wait(process, port)
            yield Directory(f"ldap://127.0.0.1:{plain}", f"ldaps://localhost:{encrypted}", place / "ca.pem")
        finally:
            process.terminate()
            process.wait(30)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)  # until the process listens: there is nothing to wait on
        else:
            return
    raise RuntimeError(f"slapd does not listen on {port}")
