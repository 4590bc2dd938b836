"""Writes the files of this folder that magika is asked about: small, made up, and of different types.

They are committed, because another version of Python may compress to other bytes; nothing writes them again
unless somebody wants other ones. After that, `make.py` has to run. Nothing but Python is needed.

    python files.py

Two of them are larger than 4096 bytes, because only those show that no more than that is looked at. The names end
in `.sample`, so that no tool takes them for sources of this project.
"""

import gzip
import io
import sqlite3
import struct
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Dict

FOLDER = Path(__file__).parent / "inputs"

# The earliest date that a zip file can say.
LONG_AGO = (1980, 1, 1, 0, 0, 0)

PYTHON = '''\
"""Counts words."""

import sys
from collections import Counter


def count(lines):
    words = Counter()
    for line in lines:
        words.update(line.split())
    return words


if __name__ == "__main__":
    for word, times in count(sys.stdin).most_common(10):
        print(f"{times:8} {word}")
'''

RUST = """\
use std::collections::HashMap;
use std::io::{self, BufRead};

/// Counts words.
fn main() -> io::Result<()> {
    let mut words: HashMap<String, usize> = HashMap::new();
    for line in io::stdin().lock().lines() {
        for word in line?.split_whitespace() {
            *words.entry(word.to_owned()).or_default() += 1;
        }
    }
    for (word, times) in &words {
        println!("{times:8} {word}");
    }
    Ok(())
}
"""

JAVASCRIPT = """\
import { readFile } from "node:fs/promises";

const text = await readFile(process.argv[2], "utf8");
const words = new Map();
for (const word of text.split(/\\s+/)) {
  words.set(word, (words.get(word) ?? 0) + 1);
}
[...words].sort((a, b) => b[1] - a[1]).forEach(([word, times]) => console.log(times, word));
"""

HTML = """\
<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>Tide table</title>
    <link rel="stylesheet" href="style.css">
  </head>
  <body>
    <h1>Tide table</h1>
    <table><tr><th>High</th><td>04:12</td></tr><tr><th>Low</th><td>10:31</td></tr></table>
  </body>
</html>
"""

JSON = """\
{
  "name": "tides",
  "version": "1.2.0",
  "license": "Apache-2.0",
  "stations": [
    {
      "id": 17,
      "place": "Husum",
      "position": { "latitude": 54.47, "longitude": 9.05 },
      "heights": [3.4, 0.2, 3.3, 0.1],
      "open": true
    },
    {
      "id": 21,
      "place": "Emden",
      "position": { "latitude": 53.34, "longitude": 7.19 },
      "heights": [3.2, 0.1, 3.1, 0.2],
      "open": null
    }
  ]
}
"""

MARKDOWN = """\
# Tides

A *small* program that says when the water comes.

## Use

1. Install it: `cargo install tides`.
2. Run `tides husum`.

| place | height |
| ----- | -----: |
| Husum |  3.4 m |

See [the manual](https://example.com/manual) for more.
"""

CSV = """\
id,place,high,low
17,Husum,04:12,10:31
21,Emden,03:58,10:02
22,Norden,03:41,09:55
25,Wilhelmshaven,04:47,11:09
"""

SHELL = """\
#!/bin/sh
set -eu
for file in "$@"; do
    if [ -f "$file" ]; then
        echo "$(wc -w <"$file") $file"
    fi
done | sort -rn | head -n 10
"""

C = """\
#include <stdio.h>
#include <ctype.h>

int main(void) {
    int words = 0, inside = 0, c;
    while ((c = getchar()) != EOF) {
        if (isspace(c)) {
            inside = 0;
        } else if (!inside) {
            inside = 1;
            words++;
        }
    }
    printf("%d\\n", words);
    return 0;
}
"""

PROSE = """\
The water comes twice a day, and goes twice a day. Nobody in the village looks at a clock for it; they look at the
posts of the old landing, which are dark up to where the water stood.

"""


def texts() -> Dict[str, bytes]:
    sources = {
        "python": PYTHON,
        "rust": RUST,
        "javascript": JAVASCRIPT,
        "html": HTML,
        "json": JSON,
        "markdown": MARKDOWN,
        "csv": CSV,
        "shell": SHELL,
        "c": C,
        "prose": PROSE,
    }
    return {name: text.encode() for name, text in sources.items()}


def png() -> bytes:
    """Two red pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0\xff\0\0\xff\0\0")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def wav() -> bytes:
    """A tenth of a second of a saw, in eight bits."""
    samples = bytes(sample * 3 % 256 for sample in range(800))
    form = struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


def pdf() -> bytes:
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 100] /Contents 4 0 R >>",
        b"<< /Length 33 >>\nstream\n0 0 1 rg 20 20 160 60 re f 1 0 0 rg\nendstream",
    ]
    document, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(document))
        document += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return document + (
        b"xref\n0 5\n0000000000 65535 f \n%strailer\n<< /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (table, len(document))
    )


def wasm() -> bytes:
    """A module with one function, which adds."""
    sections = [
        (1, b"\x01\x60\x02\x7f\x7f\x01\x7f"),
        (3, b"\x01\x00"),
        (7, b"\x01\x03add\x00\x00"),
        (10, b"\x01\x07\x00\x20\x00\x20\x01\x6a\x0b"),
    ]
    return b"\0asm\1\0\0\0" + b"".join(bytes([kind, len(data)]) + data for kind, data in sections)


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (("tides.csv", CSV), ("README.md", MARKDOWN)):
            archive.writestr(zipfile.ZipInfo(name, LONG_AGO), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def tarred() -> bytes:
    """Without the zeros that fill up the last block of ten kilobytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo("tides.csv")
        entry.size = len(CSV)
        archive.addfile(entry, io.BytesIO(CSV.encode()))
    return buffer.getvalue()[:2048]


def sqlite() -> bytes:
    """With pages of 512 bytes, the least that there can be."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tides"
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA page_size = 512")
        connection.execute("CREATE TABLE tides (id INTEGER PRIMARY KEY, place TEXT)")
        connection.execute("INSERT INTO tides VALUES (17, 'Husum'), (21, 'Emden')")
        connection.commit()
        connection.close()
        return path.read_bytes()


def binaries() -> Dict[str, bytes]:
    return {
        "png": png(),
        "wav": wav(),
        "pdf": pdf(),
        "wasm": wasm(),
        "zip": zipped(),
        "tar": tarred(),
        "gzip": gzip.compress(PYTHON.encode(), mtime=0),
        "sqlite": sqlite(),
    }


def edges() -> Dict[str, bytes]:
    """What a reader can get wrong: no bytes, few bytes, white space of each kind, and more than one block."""
    source = PYTHON.encode()
    return {
        "empty": b"",
        "one-byte": b"{",
        "seven-bytes": b"PK\3\4\x14\0\0",
        "eight-bytes": b"%PDF-1.7",
        "only-white-space": b" \t\r\n\v\f" * 20,
        # Each kind that is taken off, before and behind; and 0x1C, which is none for bytes, behind the last.
        "white-space-around": b"\v\f \t\r\n" + source + b"\x1c\f\v \r\n\t",
        # More than one block of white space: nothing is left of the start, but the end is whole.
        "spaces-before": b" " * 4200 + source,
        # Nothing in the middle is looked at: the start and the end are of different types.
        "two-types": HTML.encode() * 4 + b"\0\xff\x10\x80" * 500 + source * 4,
    }


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, content in {**texts(), **binaries(), **edges()}.items():
        (FOLDER / f"{name}.sample").write_bytes(content)


if __name__ == "__main__":
    main()
