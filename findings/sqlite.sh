#!/bin/sh
# SQLite 3.54.1 (in apsw 3.54.1.0) compiles a prepared statement again each time that a value is bound to it, if a table in it has a partial
# index whose WHERE compares a column with a constant, and the statement compares that column with a parameter. The index need not be
# used, and the plan does not change. A cache of prepared statements does not help, and no counter or log shows it; the
# authorizer does, which SQLite asks while it compiles. The configuration ENABLE_QPSG ends it.
#
# Seen: questions to the authorizer in each of five executions
#   with the partial index        [8, 4, 4, 4, 4]
#   the same with ENABLE_QPSG     [4, 0, 0, 0, 0]
#   with an ordinary index        [4, 0, 0, 0, 0]
# Exit: 0 while that is so, 1 when it changed.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/environment"
"$place/environment/bin/pip" install --quiet apsw==3.54.1.0
"$place/environment/bin/python" - <<'PROGRAM'
import sys

import apsw


def questions(index, *, stable=0):
    connection = apsw.Connection(":memory:")
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, stable)
    connection.execute(f"CREATE TABLE files (name TEXT, kind INTEGER); CREATE INDEX by_name ON files (name) {index}")
    asked = []

    def ask(*_about):
        asked[-1] += 1
        return apsw.SQLITE_OK

    connection.set_authorizer(ask)
    for number in range(5):
        asked.append(0)
        connection.execute("SELECT rowid FROM files WHERE name = ? AND kind = ?", (str(number), number)).fetchall()
    return asked


seen = [questions("WHERE kind = 9"), questions("WHERE kind = 9", stable=1), questions("")]
print(apsw.sqlite_lib_version(), *seen)
sys.exit(0 if seen == [[8, 4, 4, 4, 4], [4, 0, 0, 0, 0], [4, 0, 0, 0, 0]] else 1)
PROGRAM
