"""Policies: the rules of an index about what it lets through, and the exemptions from them.

    cooldown 7d                      a line of the option `policies`: a rule, its value
    cooldown off for acme-*          the most specific line for a project decides
    licences warn MIT, Apache-2.0 for numpy>=2

A rule is a page filter (`policy_filter`) that reads its lines (`lines`). It holds for the files that the index itself holds, in every
index that inherits them and under every URL.
"""
