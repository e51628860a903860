"""The blob store on a local disk.

blobs            the store itself: what is asynchronous
blob_tree        the paths, and the order of calls that makes a change survive
file_operations  each call to the file system, replaceable by a fake that fails
spooling         bytes on their way in; every blob store with files collects its bytes here first
owner_mark       which index the blobs belong to
"""
