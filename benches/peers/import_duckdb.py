"""The same CSV file, two threads: our import into a Delta table beside DuckDB's COPY into one Parquet file.

    pip install -r benches/peers/requirements.txt
    python benches/peers/import_duckdb.py [--rows 10000000] [--rounds 3] [--folder /tmp/import]

Makes a click stream of a shop as CSV, the same for the same number of rows; builds the example `import` in release mode,
or takes the one that `--binary` names; runs both in turns, so that a noisy machine hits both, and prints the median of
each, the ratio, the time of processors, and the most memory that was resident.

The two do not do the same: the Delta table also holds every line as it was sent, the number of every row and its date,
and is written in commits that survive a crash. What DuckDB writes is a lower bound of the work, not an equal.
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

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--rows", type=int, default=10_000_000)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("target/import"))
parser.add_argument("--binary", type=pathlib.Path)
parser.add_argument("--without-ids", action="store_true", help="let our import make the ids of the events")
parser.add_argument("--only", choices=["duckdb"], help=argparse.SUPPRESS)
args = parser.parse_args()

csv = args.folder / "csv" / "events.csv"
parquet = args.folder / "duckdb.parquet"
table = args.folder / "delta"

# One event a row, some 115 bytes; hashes of the row number stand for chance.
EVENTS = """
    SELECT md5(i::VARCHAR) AS event_id,
           strftime(make_timestamp(1714521600000000 + i * 120000), '%Y-%m-%dT%H:%M:%S.%fZ') AS occurred_at,
           'c' || hash(i // 12) % 400000 AS client,
           's' || i // 12 AS session,
           CASE WHEN hash(i * 3) % 100 < 80 THEN 'detail' WHEN hash(i * 3) % 100 < 88 THEN 'add'
                WHEN hash(i * 3) % 100 < 91 THEN 'purchase' WHEN hash(i * 3) % 100 < 97 THEN 'search'
                ELSE 'pageview' END AS kind,
           'item-' || hash(i * 5) % (1 + hash(i * 7) % 20000) AS item,
           CASE WHEN hash(i * 3) % 100 BETWEEN 91 AND 96 THEN 'query ' || hash(i * 11) % 500 END AS query,
           (1 + hash(i * 13) % 20000) / 100.0 AS price,
           CASE WHEN hash(i * 3) % 100 BETWEEN 80 AND 90 THEN 1 + hash(i * 17) % 3 END AS quantity,
           'EUR' AS currency
    FROM range({rows}) AS t(i)
"""


def copy_with_duckdb():
    connection = duckdb.connect(config={"threads": args.threads})
    connection.execute(f"COPY (FROM read_csv('{csv}')) TO '{parquet}' (FORMAT parquet, COMPRESSION zstd)")


def measured(command):
    """The seconds that a command takes, those of processors, and the MiB that it holds at most."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command[0]} failed")
    return time.perf_counter() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if args.only == "duckdb":
    copy_with_duckdb()
    sys.exit()

csv.parent.mkdir(parents=True, exist_ok=True)
if not csv.exists() or int((args.folder / "rows").read_text()) != args.rows:
    duckdb.execute(f"COPY ({EVENTS.format(rows=args.rows)}) TO '{csv}' (HEADER)")
    (args.folder / "rows").write_text(str(args.rows))
binary = args.binary
if binary is None:
    subprocess.run(["cargo", "build", "--quiet", "--release", "--example", "import"], cwd=ROOT, check=True)
    binary = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "examples" / "import"

ours, theirs = [], []
for round in range(args.rounds):
    shutil.rmtree(table, ignore_errors=True)
    settings = ["--rows", str(args.rows), "--folder", str(args.folder), "--threads", str(args.threads)]
    theirs.append(measured([sys.executable, __file__, "--only", "duckdb", *settings]))
    own_ids = ["--without-ids"] if args.without_ids else []
    ours.append(measured([binary, csv.parent, table, "--threads", str(args.threads), *own_ids]))
    print(f"round {round + 1}: ours {ours[-1][0]:.1f} s, DuckDB {theirs[-1][0]:.1f} s", flush=True)

n_ours, n_theirs = (
    duckdb.execute(f"SELECT count(*) FROM read_parquet('{files}')").fetchone()[0]
    for files in [table / "events" / "received_date=*" / "*.parquet", parquet]
)
if (n_ours, n_theirs) != (args.rows, args.rows):
    sys.exit(f"{n_ours} rows here, {n_theirs} there, of {args.rows}: not comparable")

size = sum(file.stat().st_size for file in (table / "events").rglob("*.parquet"))
print(f"import of {args.rows:,} rows, {csv.stat().st_size / 2**20:,.0f} MiB of CSV, median of {args.rounds} rounds")
print(f"{'':24}{'ours':>12}{'DuckDB':>12}{'ratio':>8}")
medians = [[statistics.median(column) for column in zip(*runs)] for runs in (ours, theirs)]
speeds = [args.rows / seconds for seconds, _, _ in medians]
print(f"{'rows/s':24}{speeds[0]:12,.0f}{speeds[1]:12,.0f}{speeds[0] / speeds[1]:8.2f}")
# Steadier than the clock where other processes run.
busy = [processors / args.rows * 1e6 for _, processors, _ in medians]
print(f"{'processor us/row':24}{busy[0]:12.2f}{busy[1]:12.2f}{busy[0] / busy[1]:8.2f}")
peaks = [max(peak for _, _, peak in runs) for runs in (ours, theirs)]
print(f"{'peak resident, MiB':24}{peaks[0]:12,.0f}{peaks[1]:12,.0f}{peaks[0] / peaks[1]:8.2f}")
sizes = [size / 2**20, parquet.stat().st_size / 2**20]
print(f"{'written, MiB':24}{sizes[0]:12,.0f}{sizes[1]:12,.0f}{sizes[0] / sizes[1]:8.2f}")
