"""Folders of projects as indexes, one folder a project or one for many: `source` is the `Source` of the type `routes`.

folders_root   a `Root` of the directory engine: the folder of each project as the routes of the index say
making         makes the source at the first question
source         the directory engine's source, with such a root for each index
"""
