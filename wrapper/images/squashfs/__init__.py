"""SquashFS images of ours, read and put together without touching what is compressed in them.

``mksquashfs`` makes images of trees. What it cannot is to make one of an image and a few changes,
other than by packing all of it again. Here the compressed blocks of both are copied, and only the
tables that say which file has which of them are written anew: an update's time does not depend on
how large the environment is, but for the copy. Blocks can also be compressed otherwise on the way,
which needs neither a tree on disk nor a second look at its files.

The format is that of the kernel's Documentation/filesystems/squashfs.rst and
fs/squashfs/squashfs_fs.h, version 4.0. What mksquashfs can write and we do not need (extended
attributes, owners, devices, lzo and lzma) is :class:`Unsupported`.
"""
