"""The read-through source: a mirrored index whose pages and files are fetched when somebody asks for them."""
