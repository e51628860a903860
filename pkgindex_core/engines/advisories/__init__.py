"""The book of advisories in one file of the data directory, mapped into memory and shared by all processes of the machine.

    advisories/book          keys of projects | where their frames are | keys of identifiers | frames (zstd, one dictionary)
    advisories/checked.json  when the feed last answered, and its validators
    advisories/lock          held by the process that asks the feed

`taking_in` makes a new file in a process of its own and renames it over the old one. Readers notice within a second (`book`).
"""
