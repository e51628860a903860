"""Who may do what, written down by hand: from what devpi permits and what our documentation says, never from the code.

Two tables. `RIGHTS` has a line of marks for each right, one mark a role, on an index that everybody may read and on a private one.
`ROUTES` says which right each route of the server asks for, and with what status a request succeeds that has it.

    +  allowed
    ?  asked for credentials: 401 with a challenge. On a command of devpi's client 403 (its client takes 401 for a log-in that ended)
    -  refused: 403
    0  404, in the very words in which an index that does not exist is not found
    u  401, since devpi says so where a push may not go to its target
    p  404, in the very words in which a project that does not exist is not found
"""

from __future__ import annotations

from typing import Final

ROLES: Final = {
    "nobody": "no credentials",
    "stranger": "another user",
    "reader": "in acl_read of the private index, not in acl_upload",
    "uploader": "in acl_read and acl_upload, not the owner",
    "owner": "anna, whose index it is; in acl_upload",
    "root": "root, not in acl_upload",
    "login": "a log-in of the owner's",
    "api": "a token of the owner's without limits",
    "reads": "… limited to reading",
    "uploads": "… limited to uploading",
    "here": "… limited to these indexes",
    "elsewhere": "… limited to another index",
    "project": "… limited to this project",
    "others": "… limited to another project",
    "expired": "a token of the owner's that has expired",
}

# fmt: off
RIGHTS: Final[dict[str, tuple[str, str]]] = {
    #                 nobody stranger reader uploader owner root | login api reads uploads here elsewhere project others expired
    "anything":     ("+  +  +  +  +  +    +  +  +  +  +  +  +  +  +",   # whatever the credentials are
                     "+  +  +  +  +  +    +  +  +  +  +  +  +  +  +"),
    "status":       ("+  +  +  +  +  +    +  +  +  +  +  +  +  +  ?",   # everybody, but credentials have to be good
                     "+  +  +  +  +  +    +  +  +  +  +  +  +  +  ?"),
    "metrics":      ("?  +  +  +  +  +    +  +  -  -  -  -  -  -  ?",   # who has credentials; a token has to be for it, and its limits leave nothing else
                     "?  +  +  +  +  +    +  +  -  -  -  -  -  -  ?"),
    "name":         ("+  +  +  +  +  +    +  +  +  +  +  +  +  +  +",   # where an index is: also to who has yet to log in, and then not to who may not read it
                     "+  0  +  +  +  +    +  +  +  0  +  0  +  +  +"),
    "read":         ("+  +  +  +  +  +    +  +  +  +  +  +  +  +  ?",   # a project: its page, files, documents
                     "?  0  +  +  +  +    +  +  +  0  +  0  +  p  ?"),
    "list":         ("+  +  +  +  +  +    +  +  +  +  +  +  +  +  ?",   # all projects of an index
                     "?  0  +  +  +  +    +  +  +  0  +  0  -  -  ?"),
    "slash":        ("+  +  +  +  +  +    +  +  +  +  +  +  +  +  ?",   # a redirect, which says nothing about a project
                     "?  0  +  +  +  +    +  +  +  0  +  0  +  +  ?"),
    "refresh":      ("+  +  +  +  +  +    +  +  +  +  +  +  +  +  ?",   # as reading, since devpi's client refreshes without credentials
                     "?  0  +  +  +  +    +  +  -  0  +  0  +  -  ?"),
    "upload":       ("?  -  -  +  +  -    +  +  -  +  +  -  +  -  ?",   # acl_upload only: root is not implied
                     "?  0  -  +  +  -    +  +  -  +  +  0  +  -  ?"),
    "delete":       ("?  -  -  +  +  +    +  +  -  -  +  -  +  -  ?",   # acl_upload, the owner and root
                     "?  0  -  +  +  +    +  +  -  0  +  0  +  -  ?"),
    "delete file":  ("?  -  -  +  +  +    +  +  -  -  +  -  +  -  ?",   # the same; of a project that a token may not see, there is no file
                     "?  0  -  +  +  +    +  +  -  0  +  0  +  p  ?"),
    "delete +e":    ("?  -  -  +  +  +    +  +  -  -  +  -  +  +  ?",   # there is none on a hosted index, so nobody is told of one
                     "?  0  -  +  +  +    +  +  -  0  +  0  +  +  ?"),
    "push":         ("?  +  +  +  +  +    +  +  -  -  +  -  +  u  ?",   # reading here, with credentials, and uploading there
                     "?  0  +  +  +  +    +  +  -  0  +  0  +  u  ?"),
    "push page":    ("?  +  +  +  +  +    +  +  -  -  +  -  +  -  ?",   # the same of the project in the path; the page offers the targets that one may use
                     "?  0  +  +  +  +    +  +  -  0  +  0  +  -  ?"),
    "upload page":  ("?  -  -  +  +  -    +  +  -  +  +  -  +  +  ?",   # which project it will be is not known yet
                     "?  0  -  +  +  -    +  +  -  +  +  0  +  +  ?"),
    "follow":       ("?  +  +  +  +  +    +  +  -  -  +  -  -  -  ?",   # copying what one may read and fetch, with credentials; a token has to be for it
                     "?  +  +  +  +  +    +  +  -  -  +  -  -  -  ?"),  # the public index is there for whoever may not read the private one
    "copy":         ("?  +  +  +  +  +    +  +  -  -  +  -  -  -  ?",   # the same, of one index; a part of an index cannot be copied
                     "?  0  +  +  +  +    +  +  -  0  +  0  -  -  ?"),
    "results":      ("?  +  +  +  +  +    +  +  -  -  +  -  +  -  ?",   # acl_toxresult_upload: by default who has credentials and may read
                     "?  0  +  +  +  +    +  +  -  0  +  0  +  p  ?"),
    "explain":      ("+  +  +  +  +  +    +  +  +  +  +  +  +  +  ?",   # as reading, but a token has to be for it
                     "?  0  +  +  +  +    +  +  -  0  +  0  +  -  ?"),
    "authcheck":    ("+  +  +  +  +  +    +  +  +  +  +  +  +  +  ?",   # what nginx may let through: it knows 200, 401 and 403
                     "?  -  +  +  +  +    +  +  +  -  +  -  +  -  ?"),
    "configure":    ("?  -  -  -  +  +    +  +  -  -  +  -  -  -  ?",   # the owner and root; it is about no project
                     "?  0  -  -  +  +    +  +  -  0  +  0  -  -  ?"),
    "make an index": ("?  -  -  -  +  +    +  +  -  -  -  -  -  -  ?",  # below one's own name, or root
                     "?  -  -  -  +  +    +  +  -  -  -  -  -  -  ?"),
    "make a user":  ("?  -  -  -  -  +    -  -  -  -  -  -  -  -  ?",   # registration is closed unless it is opened
                     "?  -  -  -  -  +    -  -  -  -  -  -  -  -  ?"),
    "own account":  ("?  -  -  -  +  +    +  +  -  -  -  -  -  -  ?",   # the user and root; it is about no index
                     "?  -  -  -  +  +    +  +  -  -  -  -  -  -  ?"),
    "own tokens":   ("?  -  -  -  +  +    +  -  -  -  -  -  -  -  ?",   # what a token may not do, whatever its limits
                     "?  -  -  -  +  +    +  -  -  -  -  -  -  -  ?"),
}

#   right, status of success; `command` is one of devpi's client, answered in its envelope
ROUTES: Final[dict[str, tuple[str, int] | tuple[str, int, str]]] = {
    "GET /":                                                   ("anything", 200),
    "GET /+live":                                              ("anything", 200),
    "GET /+ready":                                             ("anything", 200),
    "GET /+authcheck":                                         ("authcheck", 200),
    "GET /+metrics":                                           ("metrics", 200),
    "POST /+login":                                            ("anything", 200, "command"),
    "POST /{user}/+token-create":                              ("own tokens", 200, "command"),
    "GET /{user}/+tokens":                                     ("own tokens", 200, "command"),
    "DELETE /{user}/+tokens/{id}":                             ("own tokens", 200, "command"),
    "GET /+api":                                               ("anything", 200, "command"),
    "GET /{user}/+api":                                        ("anything", 200, "command"),
    "GET /{user}/{index}/+api":                                ("name", 200, "command"),
    "GET /+status":                                            ("status", 200, "command"),
    "GET /{user}[/]":                                          ("status", 200, "command"),  # she has a public index; wrong credentials never just show less
    "PUT /{user}[/]":                                          ("make a user", 201, "command"),
    "PATCH /{user}[/]":                                        ("own account", 200, "command"),
    "DELETE /{user}[/]":                                       ("own account", 200, "command"),
    "GET /{user}/{index}[/]":                                  ("list", 200, "command"),
    "PUT /{user}/{index}[/]":                                  ("make an index", 200, "command"),
    "PATCH /{user}/{index}[/]":                                ("configure", 200, "command"),
    "DELETE /{user}/{index}[/]":                               ("configure", 201, "command"),
    "GET /+explain":                                           ("explain", 200),
    "GET /+decisions":                                         ("status", 200),  # of each file that one may explain
    "GET /{user}/{index}/+exemptions":                         ("configure", 200),
    "POST /{user}/{index}/+exemptions":                        ("configure", 200),
    "DELETE /{user}/{index}/+exemptions":                      ("configure", 404),  # there is none to lift
    "POST /+osv/v1/query":                                     ("status", 400),  # the body is no query
    "POST /+osv/v1/querybatch":                                ("status", 400),
    "GET /+osv/v1/vulns/{id}":                                 ("status", 503),  # nothing was taken in
    "GET /{user}/{index}/+advisories":                         ("configure", 200),
    "POST /{user}/{index}/+advisories":                        ("configure", 400),  # the body is no advisory
    "DELETE /{user}/{index}/+advisories":                      ("configure", 404),  # there is none to remove
    "GET /+changes":                                           ("follow", 200),
    "GET /+changes/{user}/{index}/{project}":                  ("copy", 200),
    "GET /+changes/{user}/{index}/{project}/{digest}/{filename}": ("copy", 200),
    # the pages on which people work; forms come with their token
    "GET /+login":                                             ("anything", 200),
    "GET /+working.css":                                       ("anything", 200),
    "GET /+search":                                            ("status", 200),  # what one may not read is not found
    "GET /robots.txt":                                          ("anything", 200),
    "GET /+search.js":                                         ("anything", 200),
    "GET /{user}/{index}/+search":                             ("list", 200),
    "POST /+logout":                                           ("anything", 303),
    "GET /+users":                                             ("metrics", 200),
    "POST /+users":                                            ("make a user", 303),
    "POST /{user}/+delete":                                    ("own account", 303),
    "GET /{user}/+account":                                    ("own tokens", 200),
    "POST /{user}/+account":                                   ("own tokens", 200),
    "GET /{user}/+new-index":                                  ("make an index", 200),
    "POST /{user}/+new-index":                                 ("make an index", 303),
    "GET /{user}/{index}/+edit":                               ("configure", 200),
    "POST /{user}/{index}/+edit":                              ("configure", 409),  # the form is older than the index
    "POST /{user}/{index}/+delete":                            ("configure", 303),
    "GET /{user}/{index}/+upload":                             ("upload page", 200),
    "POST /{user}/{index}/+upload":                            ("upload", 200),
    "GET /{user}/{index}/+manage/{project}":                   ("delete", 200),
    "POST /{user}/{index}/+manage/{project}":                  ("delete", 303),
    "GET /{user}/{index}/+promote/{project}/{version}":        ("push page", 200),
    "POST /{user}/{index}/+promote/{project}/{version}":       ("push page", 303),
    "GET /{user}/{index}/+plots":                              ("list", 200),
    "GET /{user}/{index}/+plots/{project}":                    ("read", 200),
    "GET /{user}/{index}/+feed":                               ("list", 200),
    "GET /{user}/{index}/+feed/{project}":                     ("read", 200),
    "GET /openapi.json":                                       ("anything", 200),
    # the default index
    "POST /":                                                  ("upload", 200),
    "POST /legacy/":                                           ("upload", 200),
    "POST /legacy":                                            ("upload", 200),
    "GET /simple":                                             ("slash", 301),
    "GET /simple/":                                            ("list", 200),
    "GET /simple/namespaces":                                   ("list", 301),  # the index has none, so it is the name of a project
    "GET /simple/namespace/{namespace}":                        ("list", 404),
    "GET /simple/{project}":                                   ("slash", 301),
    "GET /simple/{project}/":                                  ("read", 200),
    "GET /simple/v1+json/":                                    ("list", 200),
    "GET /simple/v1+json/{project}/":                          ("read", 200),
    "GET /simple/v1+html/":                                    ("list", 200),
    "GET /simple/v1+html/{project}/":                          ("read", 200),
    "GET /pypi/{project}/json[/]":                             ("read", 200),
    "GET /pypi/{project}/{version}/json[/]":                   ("read", 200),
    "GET /project/{project}[/]":                               ("status", 302),  # the page in an index that one may read: here the public one
    "GET /project/{project}/{version}[/]":                     ("status", 302),
    "GET /packages/{a}/{b}/{c}/{filename}":                    ("read", 302),
    "GET /integrity/{project}/{version}/{filename}/provenance[/]": ("read", 404),  # the file has no attestations
    "GET /{user}/{index}/+integrity/{project}/{version}/{filename}/provenance[/]": ("read", 404),
    "GET /_/oidc/audience":                                    ("anything", 403),  # no issuer is configured
    "POST /_/oidc/mint-token":                                 ("anything", 422),
    "POST /_/oidc/burn-token":                                 ("anything", 404),
    "POST /pypi[/]":                                           ("list", 400),  # the body is no call
    "POST /RPC2":                                              ("list", 400),
    # an index by its name
    "GET /+at/{at}/{user}/{index}/+simple":                     ("slash", 301),
    "GET /+at/{at}/{user}/{index}/+simple/":                    ("list", 200),
    "GET /+at/{at}/{user}/{index}/+simple/{project}":           ("slash", 301),
    "GET /+at/{at}/{user}/{index}/+simple/{project}/":          ("read", 200),
    "GET /{user}/{index}/+simple":                             ("slash", 301),
    "GET /{user}/{index}/+simple/":                            ("list", 200),
    "GET /{user}/{index}/+simple/namespaces":                   ("list", 301),
    "GET /{user}/{index}/+simple/namespace/{namespace}":        ("list", 404),
    "GET /{user}/{index}/+simple/{project}":                   ("slash", 301),
    "GET /{user}/{index}/+simple/{project}/":                  ("read", 200),
    "POST /{user}/{index}/+simple/{project}/refresh":          ("refresh", 302),
    "POST /{user}/{index}/{project}/refresh":                  ("refresh", 302),
    "GET /{user}/{index}/+f/{a}/{b}/{filename}":               ("read", 200),
    "PATCH /{user}/{index}/+f/{a}/{b}/{filename}":             ("delete file", 200),
    "DELETE /{user}/{index}/+f/{a}/{b}/{filename}":            ("delete file", 200, "command"),
    "POST /{user}/{index}/+f/{a}/{b}/{filename}":              ("results", 200, "command"),
    "DELETE /{user}/{index}/+e/{a}/{filename}":                ("delete +e", 404, "command"),
    "GET /{user}/{index}/+e/{a}/{filename}":                   ("read", 404),  # of a mirror only: there is none here
    "POST /{user}/{index}[/]":                                 ("upload", 200),
    "PUSH /{user}/{index}[/]":                                 ("push", 200, "command"),
    "GET /{user}/{index}/{project}[/]":                        ("read", 200, "command"),
    "PATCH /{user}/{index}/{project}[/]":                      ("configure", 200, "command"),
    "DELETE /{user}/{index}/{project}[/]":                     ("delete", 200, "command"),
    "GET /{user}/{index}/{project}/{version}[/]":              ("read", 200, "command"),
    "DELETE /{user}/{index}/{project}/{version}[/]":           ("delete", 200, "command"),
    "GET /{user}/{index}/+findlinks[/]":                       ("list", 200),
    "GET /{user}/{index}/{project}/json[/]":                   ("read", 200),
    "GET /{user}/{index}/{project}/{version}/json[/]":         ("read", 200),
    "GET /{user}/{index}/{project}/+diff":                    ("read", 200),
    "GET /{user}/{index}/{project}/{version}/{filename}":      ("read", 200),
    "GET /{user}/{index}/{project}/{version}/+doc":            ("slash", 302),
    "GET /{user}/{index}/{project}/{version}/+doc/{path...}":  ("read", 200),
    "GET /{user}/{index}/{project}/{version}/+d":              ("slash", 302),
    "GET /{user}/{index}/{project}/{version}/+d/{path...}":    ("slash", 302),
}
# fmt: on


def mark(right: str, role: str, *, private: bool) -> str:
    """What the table says of one role."""
    marks = RIGHTS[right][private].split()
    assert len(marks) == len(ROLES), right
    return marks[list(ROLES).index(role)]
