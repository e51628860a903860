"""The PostgreSQL engine of the index store: any number of servers over one database.

making     opens a store for a URL; a start without one loads nothing else of this package
databases  the URL of a database, and connections to it
opening    the versions of server and schema, migrations
sessions   connections in use, and what is tried again when one is lost
failures   the library's errors for those of the server
index      the store itself, made of the parts below
queries    reads; each is one statement
writer     group commit, and what is done when another server committed first or an answer was lost
planned    waiting lists of changes, and the statements of those that fit
sending    those statements on their way, and the search for a commit whose answer was lost
facts      the one statement that reads the facts of a group
batches    many statements in one round trip
effects    the statements of a plan; `mirrored` has those of pages and lists of names, `configured` those of configurations, users and tokens
watching   the newest commit, and what commits touched
notes      values without a history
sql/       the schema, as numbered migrations (`engines.migrations` reads them)
"""
