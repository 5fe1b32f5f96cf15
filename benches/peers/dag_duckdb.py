"""The reference DAG beside DuckDB: the same queries on the same raw Parquet file, each table kept in Parquet.

    pip install -r benches/peers/requirements.txt
    python benches/peers/dag_duckdb.py [--events 10000000] [--rounds 3] [--folder /tmp/dag]

Flattens JSON payloads, removes duplicates, finds visits, and makes statistics, ordered lists and figures of them: the
files of `benches/dag/sql`, word by word. Builds the bench in release mode, or takes the one that `--binary` names; it
writes the raw events of a synthetic shop, then runs in turns with DuckDB, so that a noisy machine hits both, each time
in a new process and with the file cache dropped where that is allowed. Prints the median of each, the ratio, the time
of processors and the most memory that was resident, and fails unless both made the same rows.

What differs: DuckDB has no `to_timestamp_micros` and gets it as a macro for its own `make_timestamp`; it writes plain
Parquet files (`--tables duckdb`: tables of its own), we write Delta tables, one transaction each.
"""
import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

import duckdb

ROOT = pathlib.Path(__file__).resolve().parents[2]
SQL = ROOT / "benches" / "dag" / "sql"
TABLES = ["events", "sessionized", "session_stats", "sessions", "kpi_hourly", "kpi_daily"]

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--events", type=int, default=10_000_000)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("target/dag"))
parser.add_argument("--binary", type=pathlib.Path)
parser.add_argument("--memory-limit-mib", type=int, help="of both; default their own")
parser.add_argument("--tables", choices=["parquet", "duckdb"], default="parquet", help="what DuckDB writes")
parser.add_argument("--only", choices=["ours", "duckdb"], help="measure one of them")
parser.add_argument("--no-check", action="store_true", help="do not compare the rows")
parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
args = parser.parse_args()

raw = args.folder / f"raw-{args.events}.parquet"
theirs = args.folder / "duckdb"
MACRO = "CREATE MACRO to_timestamp_micros(micros) AS make_timestamp(micros)"


def query(table):
    return (SQL / f"{table}.sql").read_text()


def run_duckdb():
    config = {"threads": args.threads, "temp_directory": str(theirs / "spill")}
    if args.memory_limit_mib:
        config["memory_limit"] = f"{args.memory_limit_mib}MiB"
    in_file = args.tables == "duckdb"
    connection = duckdb.connect(str(theirs / "tables.duckdb") if in_file else ":memory:", config=config)
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(MACRO)
    connection.execute(f"CREATE VIEW raw AS FROM read_parquet('{raw}')")
    connection.execute(f"CREATE VIEW flattened AS {query('flattened')}")
    for table in TABLES:
        begun = time.perf_counter()
        if in_file:
            connection.execute(f"CREATE TABLE {table} AS {query(table)}")
        else:
            file = theirs / f"{table}.parquet"
            connection.execute(f"COPY ({query(table)}) TO '{file}' (FORMAT parquet)")
            connection.execute(f"CREATE VIEW {table} AS FROM read_parquet('{file}')")
        print(f"{table}\t{time.perf_counter() - begun:.3f}", flush=True)
    connection.close()


if args.peer:
    run_duckdb()
    sys.exit()

binary = args.binary
if binary is None:
    build = ["cargo", "bench", "--bench", "dag", "--no-run", "--message-format=json", "--quiet"]
    import json

    messages = subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    built = [message.get("executable") for message in map(json.loads, messages)]
    binary = next(executable for executable in reversed(built) if executable)

reference = [binary, "reference", "--events", str(args.events), "--folder", args.folder]
subprocess.run([*reference, "--only-raw"], check=True)
if args.memory_limit_mib:
    reference += ["--memory-limit-mib", str(args.memory_limit_mib)]
peer = [sys.executable, __file__, "--peer", *[a for a in sys.argv[1:] if a != "--peer"]]


def drop_caches():
    os.sync()
    try:
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return False
    return True


def measured(command):
    """Seconds, those of processors, the MiB resident at most, and the seconds of each table."""
    is_cold = drop_caches()
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    lines = [line.rstrip("\n").split("\t") for line in process.stdout]
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command[0]} failed")
    return (seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024), lines, is_cold


runs = {"DuckDB": [], "ours": []}
tables = {"DuckDB": {}, "ours": {}}
locations = {}
for round in range(args.rounds):
    for name, command in [("DuckDB", peer), ("ours", reference)]:
        if args.only and args.only != name.lower():
            continue
        if name == "DuckDB":
            shutil.rmtree(theirs, ignore_errors=True)
            theirs.mkdir(parents=True)
        figures, lines, is_cold = measured(command)
        runs[name].append(figures)
        for line in lines:
            tables[name].setdefault(line[0], []).append(float(line[1]))
            if name == "ours":
                locations[line[0]] = line[3]
        print(f"round {round + 1}: {name} {figures[0]:.1f} s, {figures[1]:.1f} s of processors, "
              f"{figures[2]:,.0f} MiB{'' if is_cold else ', file cache warm'}", flush=True)

print(f"\nreference DAG, {args.events:,} events, {args.threads} threads, median of {args.rounds} rounds")
print(f"{'':24}{'ours':>12}{'DuckDB':>12}{'ratio':>8}")


def row(label, ours, duckdb, digits=2):
    ratio = f"{ours / duckdb:8.2f}" if ours and duckdb else ""
    print(f"{label:24}{ours or 0:12,.{digits}f}{duckdb or 0:12,.{digits}f}{ratio}")


def median(name, column):
    return statistics.median(figures[column] for figures in runs[name]) if runs[name] else None


row("seconds", median("ours", 0), median("DuckDB", 0))
for seconds, label in [("ours", "us/event, ours")]:
    if runs[seconds]:
        print(f"{label:24}{median(seconds, 0) / args.events * 1e6:12,.3f}")
row("processor seconds", median("ours", 1), median("DuckDB", 1))
peaks = [max((figures[2] for figures in runs[name]), default=None) for name in ("ours", "DuckDB")]
row("peak resident, MiB", *peaks, digits=0)
for table in TABLES:
    both = [statistics.median(tables[name].get(table, [0])) for name in ("ours", "DuckDB")]
    row(f"  {table}, s", *both)

if args.no_check or args.only:
    sys.exit()

# Rows are the same if their hashes add up to the same, whatever their order. Times are compared without their zones.
connection = duckdb.connect(config={"threads": args.threads})
connection.execute("SET TimeZone = 'UTC'")
for table in TABLES:
    here = f"read_parquet('{args.folder}/warehouse/{locations[table]}/*.parquet')"
    if args.tables == "duckdb":
        connection.execute(f"ATTACH IF NOT EXISTS '{theirs}/tables.duckdb' AS theirs (READ_ONLY)")
        there = f"theirs.{table}"
    else:
        there = f"read_parquet('{theirs}/{table}.parquet')"
    columns = [column for column, *_ in connection.execute(f"DESCRIBE FROM {here}").fetchall()]
    as_text = ", ".join(f"coalesce({column}::VARCHAR, '-')" for column in columns)
    sums = [
        connection.execute(f"SELECT count(*), sum(hash(concat_ws('|', {as_text}))::HUGEINT) FROM {rows}").fetchone()
        for rows in (here, there)
    ]
    if sums[0] != sums[1]:
        sys.exit(f"`{table}` differs: {sums[0]} here, {sums[1]} there")
print("all tables have the same rows in both")
