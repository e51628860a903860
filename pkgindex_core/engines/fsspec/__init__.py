"""The blob store on media of fsspec: object stores and other remote file systems."""
