"""The blob store on what fsspec addresses: object stores and other remote file systems."""
