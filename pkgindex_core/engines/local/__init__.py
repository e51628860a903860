"""The blob store on a local disk.

blobs            the store itself, asynchronous
blob_tree        the paths, and the order of calls that makes a change durable
file_operations  each call to the file system, replaceable by a fake that fails
spooling         new bytes before they are kept; also used by the store on fsspec
owner_mark       the mark of the store that owns the blobs
"""
