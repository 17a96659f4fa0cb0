"""Image files, and what the API takes for an image.

files.py     files, arrays and streams -> Picture, and back
codecs.py    16 bits, animations, HEIC: what Pillow alone cannot do; encoding.py: the other way
metadata.py  EXIF, XMP, IPTC and text survive a restoration
inputs.py    PIL images, arrays, tensors, bytes
previews.py  small copies for reports
skipped.py   files that are not read, counted by kind
"""
