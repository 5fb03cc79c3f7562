# SPDX-License-Identifier: Apache-2.0
"""Two or more sides do the same work in turns; what comes out are ratios.

A side is a function without arguments that does one turn and returns (seconds,
CPU seconds of all its threads and processes, units of work). Each round gives
every side a turn, in reversed order every other time, so that what else the
machine does meets all of them; a ratio is taken within a round.
"""
import argparse
import importlib
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

SKIPPED = 77
TICKS = os.sysconf("SC_CLK_TCK")


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def need(*names):
    """The modules of these names; without one of them the script is skipped."""
    try:
        modules = [importlib.import_module(name) for name in names]
    except ImportError as missing:
        skip(f"{missing} ({sys.executable}); MR_PYTHON names others")
    return modules if len(modules) > 1 else modules[0]


def arguments(doc, rounds, **more):
    """BUILD [--rounds N] [--threads N] [--markdown] and what `more` names."""
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("build", type=pathlib.Path, help="the release build, such as build/release")
    p.add_argument("--rounds", type=int, default=rounds)
    p.add_argument("--threads", type=int, default=min(2, os.cpu_count()), help="threads or workers of each side")
    p.add_argument("--markdown", action="store_true", help="nothing but rows for docs/benchmarks.md on stdout")
    for name, default in more.items():
        p.add_argument("--" + name.replace("_", "-"), type=type(default), default=default)
    args = p.parse_args()
    args.say = (lambda *a: print(*a, file=sys.stderr, flush=True)) if args.markdown else \
               (lambda *a: print(*a, flush=True))
    return args


def real_data():
    """A folder of real pictures, or None; see MILLRACE_REAL_DATA."""
    here = pathlib.Path(__file__).resolve().parents[3]
    folder = pathlib.Path(os.environ.get("MILLRACE_REAL_DATA", here.parent / "shared" / "data"))
    return folder if folder.is_dir() else None


def machine():
    model = platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{model}, {os.cpu_count()} CPUs, Linux {platform.release().split('-')[0]}"


def millrace(build, *args):
    """Run the program; its messages only if it fails."""
    done = subprocess.run([build / "bin" / "millrace", *map(str, args)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"millrace {args[0]} ended with {done.returncode}: {done.stderr}")
    return done.stdout


class Program:
    """One of tests/bench/*.c, kept running; it gets orders line by line."""

    def __init__(self, build, name, *args, **environment):
        path = build / "bench" / name
        if not path.exists():
            skip(f"no {path}: cmake --build {build} --target bench_programs")
        self.process = subprocess.Popen([path, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env=os.environ | environment)

    def send(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def line_or_none(self):
        """The next line; None for an empty one."""
        text = self.process.stdout.readline().decode()
        if not text:
            sys.exit("the program of tests/bench ended early")
        return text.strip() or None

    def line(self):
        return self.line_or_none() or ""

    def turn(self, order):
        """An order that is answered by "WALL CPU COUNT"."""
        self.send(order)
        wall, cpu, count = self.line().split()
        return float(wall), float(cpu), int(count)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def forget(*paths):
    """The page cache lets go of these files; none may be mapped."""
    for path in paths:
        for file in [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]:
            fd = os.open(file, os.O_RDONLY)
            os.fdatasync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def cpu_seconds(pids=()):
    """User + system time of this process and of others, their threads too."""
    total = time.process_time()
    for pid in pids:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def run(sides, rounds, pause=0.0, say=print):
    """{name: [(seconds, CPU seconds) a unit, one a round]}"""
    if os.getloadavg()[0] > 0.7:
        say(f"note: the machine is not quiet (load {os.getloadavg()[0]:.1f})")
    for side in sides.values():
        side()  # warm: pages, caches, code
        time.sleep(pause)
    names, got = list(sides), {name: [] for name in sides}
    for i in range(rounds):
        for name in names if i % 2 == 0 else reversed(names):
            seconds, cpu, units = sides[name]()
            got[name].append((seconds / units, cpu / units))
            time.sleep(pause)  # what was made ahead is ready, all is still
        say(f"round {i}: " + ", ".join(f"{n} {got[n][-1][0] * 1e3:.3f} ms" for n in names))
    return got


def spread(values, digits=2):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} - {max(values):.{digits}f})"


def ratios(ours, theirs, part):
    return [t[part] / o[part] for o, t in zip(ours, theirs)]


def rows(work, got, ours, show, say, cpu=True):
    """Print a row for each peer; show(side, seconds, CPU seconds) tells its figures."""
    say("\n| work | peer | millrace | peer | times faster | times less CPU |\n|---|---|---|---|---|---|")
    for name in got:
        if name == ours:
            continue
        figures = [show(side, *(statistics.median(v[k] for v in got[side]) for k in (0, 1))) for side in (ours, name)]
        print(f"| {work} | {name} | {figures[0]} | {figures[1]} | {spread(ratios(got[ours], got[name], 0))} | "
              f"{spread(ratios(got[ours], got[name], 1)) if cpu else '-'} |", flush=True)
