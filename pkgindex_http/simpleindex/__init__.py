"""Projects served as the routes of simpleindex say: its file, its URLs, its plugins. On when `[plugins.routes]` is configured.

tables        the TOML file, and the lines of its routes
routes_file   its routes: what is wrong with them, with line and remedy
settings      what a server needs of it: `[plugins.routes]`
indexes       the indexes behind it: one for each path prefix, and a mirror for each upstream that is cached
answering     the answers, and `routes` the URLs
verbatim      pages and whole folders that are sent as they are
providers     plugins of simpleindex
"""
