"""Write into datasets' cards what their data and splits are: the digests by which everybody recognizes them.

    python tools/card_identity.py NAME ...

Run it once, when a card is new and its counts and health notes have been checked; afterwards a change of these lines
is a change of the benchmark.
"""

import argparse
import re

from gnnzoo import load_dataset
from gnnzoo.registry import DATASETS
from gnnzoo.resources import config_dir


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+")
    for name in parser.parse_args().names:
        card = DATASETS.card(name)
        path = config_dir() / "datasets" / f"{card.name}.yaml"
        text = path.read_text(encoding="utf-8")
        for protocol in card.protocols:
            bundle = load_dataset(card.name, protocol)
            head, start, rest = text.partition(f"\n  {protocol}:\n")
            block = re.match(r"(?:    .*\n)*", rest)
            if not start or not block:
                raise SystemExit(f"{path} has no block for {protocol}")
            lines = [line for line in block[0].splitlines() if not re.match(r"    (digest|hash):", line)]
            lines += [f'    digest: "{bundle.digest}"', f'    hash: "{bundle.hash}"']
            text = head + start + "\n".join(lines) + "\n" + rest[block.end() :]
            print(f"{bundle.benchmark}  data {bundle.digest}  splits {bundle.hash}")
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
