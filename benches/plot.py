"""Draws the ratios of results.txt: `plot.py results.txt ratios.svg`. The colors suit light and dark backgrounds."""

import html
import re
import sys

# The rows to draw: a part of the table's title, the row, and its label.
ROWS = [
    ("default features: the layer on a plain tower", "layer", "layer, ready verifier"),
    ("all features: the layer on a plain tower", "layer", "the same with all features"),
    ("default features: the layer on a plain tower", "layer, refused", "layer, rejected"),
    ("default features: the layer and an axum Router", "layer inside", "layer inside an axum Router"),
    ("default features: the whole local TOTP path", "layer, right", "whole TOTP path, right code"),
    ("default features: the whole local TOTP path", "layer, wrong", "whole TOTP path, wrong code"),
    ("default features: TOTP verification alone", "TotpVerifier, wrong", "TOTP verification, wrong code"),
    ("form of 200 bytes", "HeaderOrForm", "form of 200 bytes"),
    ("2,430 fields, the OTP last", "HeaderOrForm", "form of 64 KiB, OTP last"),
    ("2,430 fields without", "HeaderOrForm", "form of 64 KiB, no OTP"),
    ("16,000 encoded names", "HeaderOrForm", "form of 64 KiB, 16,000 lookalikes"),
    ("OAuth", "signing", "OAuth signing"),
    ("OAuth", "checking, right", "OAuth checking"),
    ("recording a step, 1000000 keys, threads: 1", "MemoryStore", "used steps, a million keys"),
    ("recording a step, 1000000 keys, threads: 2", "MemoryStore", "the same in two threads"),
    ("counting an attempt, 1000000 keys, threads: 1", "MemoryStore", "throttle, a million keys"),
    ("counting an attempt, 1000000 keys, threads: 2", "MemoryStore", "the same in two threads"),
]
RATIO = re.compile(
    r"^(?P<row>\S.*?)\s{2,}.*?\s(?P<ratio>[\d.]+) \([\d.]+-[\d.]+\) of (?P<peer>.+), mark (?P<mark>[\d.]+)"
)

TEXT, LINE, MET, MISSED = "#7d8590", "#7d859066", "#2f9e6e", "#d9822b"
LEFT, WIDTH, STEP, TOP = 250, 330, 26, 64


def ratios(path):
    features, title, found = "", "", {}
    with open(path, encoding="utf-8") as results:
        for line in results:
            if line.startswith("# "):
                features = line.removeprefix("# with ").removeprefix("the ").strip()
            elif line.startswith("## "):
                title = f"{features}: {line[3:].strip()}"
            elif row := RATIO.match(line):
                found[title, row["row"]] = (float(row["ratio"]), row["peer"], float(row["mark"]))
    return found


def main(results, drawing):
    found = ratios(results)
    rows = []
    for part, row, label in ROWS:
        [key] = [key for key in found if part in key[0] and key[1] == row]
        rows.append((label, *found[key]))
    most = max(2.0, *(ratio for _, ratio, _, _ in rows), *(mark for *_, mark in rows))
    x = lambda ratio: LEFT + ratio / most * WIDTH
    bottom = TOP + STEP * len(rows)
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 {bottom + 16}" '
        f'font-family="sans-serif" font-size="13">',
        f'<text x="12" y="22" fill="{TEXT}" font-size="16">'
        f'Time of tower-toopher, as a multiple of the time of its peer</text>',
        f'<text x="12" y="42" fill="{TEXT}">shorter is better; the bar across is the mark; '
        f'<tspan fill="{MET}">met</tspan>, <tspan fill="{MISSED}">missed</tspan></text>',
    ]
    for ratio in (0.5, 1.0, 1.5, 2.0):
        weight = 2 if ratio == 1 else 1
        svg += [
            f'<line x1="{x(ratio):.0f}" y1="{TOP - 4}" x2="{x(ratio):.0f}" y2="{bottom}" '
            f'stroke="{LINE}" stroke-width="{weight}"/>',
            f'<text x="{x(ratio):.0f}" y="{TOP - 8}" fill="{TEXT}" font-size="11" text-anchor="middle">{ratio}</text>',
        ]
    for i, (label, ratio, peer, mark) in enumerate(rows):
        y = TOP + STEP * i
        color = MET if ratio <= mark * 1.1 else MISSED
        svg += [
            f'<text x="{LEFT - 8}" y="{y + 17}" fill="{TEXT}" text-anchor="end">{html.escape(label)}</text>',
            f'<rect x="{LEFT}" y="{y + 5}" width="{x(ratio) - LEFT:.1f}" height="16" rx="2" fill="{color}"/>',
            f'<line x1="{x(mark):.1f}" y1="{y + 2}" x2="{x(mark):.1f}" y2="{y + 24}" '
            f'stroke="{TEXT}" stroke-width="3"/>',
            f'<text x="{LEFT + WIDTH + 14}" y="{y + 17}" fill="{TEXT}">'
            f'{ratio:.2f} of {html.escape(peer.split(",")[0])}</text>',
        ]
    svg.append("</svg>")
    with open(drawing, "w", encoding="utf-8") as file:
        file.write("\n".join(svg) + "\n")


main(*sys.argv[1:])
