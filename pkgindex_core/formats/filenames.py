"""What a filename says: kind, project, version.

Two readings. `parse_upload_filename` is strict: it takes only what may be uploaded today (PEP 427, PEP 625) and
says what is wrong otherwise. `version_in` and `candidate_projects` never fail: mirrors list files of every
age (.egg, .exe, .msi, .rpm, .tar.bz2, dumb archives), and those must neither crash a page nor be lost.
"""
