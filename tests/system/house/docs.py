#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the pages and the help of the program name must be there.

    docs.py PROGRAM ERRORS.DEF PAGE.md...

Commands in code (verbs, their options, words of ./dev), links and the headings
they point at, error codes. Prints what is not, a line each; exit 1 then.
"""

import re
import subprocess
import sys
from pathlib import Path

program, errors, pages = sys.argv[1], sys.argv[2], sys.argv[3:]
wrong, commands, links = [], 0, 0


def say(*words):
    return subprocess.run([program, *words], capture_output=True, text=True,
                          check=True).stdout


def help_of(verb):
    if verb not in helps:
        helps[verb] = say(*verb.split(), "--help")
    return helps[verb]


helps = {}
verbs = [line.split("\t")[0] for line in say("--verbs").splitlines()]
kinds = {v: say(v, "--kinds").split() for v in verbs}
codes = {int(n) for n in re.findall(r"MRI_ERROR\(\s*(\d+),",
                                    Path(errors).read_text())}
dev = set(re.findall(r"^  (\w+)", subprocess.run(
    [Path(errors).parents[2] / "dev", "--help"], capture_output=True,
    text=True, check=True).stdout, re.M))


def code_of(text):
    """The commands in a page: lines of blocks, and what stands in `...`."""
    text = text.replace("\\\n", " ")
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S):
        yield from block.splitlines()
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    yield from re.findall(r"^    +(.*)$", text, re.M)
    yield from (" ".join(span.split()) for span in
                re.findall(r"`([^`]+)`", text))


def check_command(where, line):
    """An option must be one that the verb's help names."""
    global commands
    for found in re.finditer(r"(?:^|[\s(])millrace ([a-z]+)((?: [^|;#]*)?)",
                             line):
        verb, rest = found.groups()
        commands += 1
        if verb not in verbs:
            wrong.append(f"{where}: no verb: {line.strip()}")
            continue
        kind = rest.split()[0] if rest.split() else ""
        if kinds[verb] and kind in kinds[verb] and verb == "eval":
            verb += " " + kind
        for option in re.findall(r"(?<!\S)(--[a-z][a-z-]*|-[a-z])(?![\w-])",
                                 re.sub(r"'[^']*'", "''", rest)):
            if not re.search(rf"(?<![\w-]){option}(?![\w-])", help_of(verb)):
                wrong.append(f"{where}: {verb} has no {option}: {line.strip()}")
    for word in re.findall(r"\./dev ([a-z]+)", line):
        commands += 1
        if word not in dev:
            wrong.append(f"{where}: ./dev has no {word}")


def headings(page):
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-")
            for h in re.findall(r"^#+ (.*)$", page.read_text(), re.M)}


def check_links(page, text):
    global links
    for to, heading in re.findall(r"\]\(([^)#:\s]*)(?:#([^)]*))?\)", text):
        links += 1
        target = page if not to else page.parent / to
        if not target.exists():
            wrong.append(f"{page}: leads nowhere: {to}")
        elif heading and heading not in headings(target):
            wrong.append(f"{page}: no heading '{heading}' in {target.name}")


for name in pages:
    text = Path(name).read_text()
    for line in code_of(text):
        check_command(name, line)
    check_links(Path(name), text)
    for number in re.findall(r"\bE(0\d{3})\b", text):
        if int(number) not in codes:
            wrong.append(f"{name}: no error E{number}")
for verb in verbs:
    for of in [verb] + ([f"{verb} {k}" for k in kinds[verb]]
                        if verb == "eval" else []):
        for line in help_of(of).replace("\\\n", " ").splitlines():
            check_command(f"{of} --help", line)
print("\n".join(sorted(set(wrong))))
print(f"{commands} commands, {links} links in {len(pages)} pages")
sys.exit(bool(wrong))
