"""Trusted publishing: exchanges the token of an OIDC issuer for one that may upload for minutes.

configured   the table `[issuers]`
keys         the keys of the issuers, over HTTP
minting      issuer's token -> checks -> token of this server
routes       what twine and uv ask
"""
