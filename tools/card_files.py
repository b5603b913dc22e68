"""Print the ``files:`` block of a dataset's card: the sha256 of every file below a folder, and their ``size``.

    python tools/card_files.py FOLDER [GLOB ...]

``x.gz`` is listed as ``x``, by its uncompressed content, unless --keep-gz says that the set is distributed like that.
"""

import argparse
import gzip
import hashlib
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("globs", nargs="*", default=["**/*"])
    parser.add_argument("--keep-gz", action="store_true")
    arguments = parser.parse_args()
    size = 0
    print("files:")
    for path in sorted({p for glob in arguments.globs for p in arguments.folder.glob(glob) if p.is_file()}):
        unpack = path.suffix == ".gz" and not arguments.keep_gz
        content = gzip.decompress(path.read_bytes()) if unpack else path.read_bytes()
        size += len(content)
        name = path.relative_to(arguments.folder).as_posix().removesuffix(".gz" if unpack else "")
        print(f"  {name}: {hashlib.sha256(content).hexdigest()}")
    print(f"size: {size}")


if __name__ == "__main__":
    main()
