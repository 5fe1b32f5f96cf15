"""Makes great_expectations.json: verdicts of Great Expectations itself on small tables.

pip install great_expectations sqlalchemy
python ask_great_expectations.py > great_expectations.json

Each expectation is evaluated on pandas and on SQLite. A verdict that both give, or that only one of them can
give, is kept once; where they differ, both are.
"""

import json
import logging
import os
import sqlite3
import sys
import tempfile
import warnings

os.environ["TQDM_DISABLE"] = "1"
warnings.filterwarnings("ignore")

import great_expectations as gx
import pandas as pd
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

logging.disable(logging.CRITICAL)

TYPES = {
    "id": "Int64", "item": "Utf8", "price": "Float64", "qty": "Int64", "day": "Utf8", "mail": "Utf8",
    "kind": "Utf8", "a": "Float64", "b": "Float64", "c": "Float64", "doc": "Utf8", "seq": "Int64",
}
ROWS = [
    [1, "hat", 9.5, 1, "2024-05-01", "a@b.de", "view", 1.0, 1.0, 1.0, "{}", 1],
    [2, "hat", 20.0, 2, "2024-05-02", "c@d.de", "view", 2.0, 1.0, 0.0, "[1]", 2],
    [3, "scarf", 30.5, 3, "2024-02-30", "nobody", "view", None, 3.0, 0.0, "no", 2],
    [4, None, None, 3, None, None, "add", None, None, None, None, 3],
    [5, "glove", 0.0, 5, "2024-05-05", "E@F.DE", "add", 5.0, None, -2.0, "null", 5],
    [6, "fur", -1.0, 8, "05/06/2024", "g@h", "view", 0.5, 2.5, 0.0, "{\"a\": 1}", 8],
    [7, "hat", 9.5, 1, "2024-05-07", "i@j.de", "purchase", 3.0, 3.0, 3.0, "\"x\"", 13],
    [8, "cap", 100.0, 1, "2024-05-08", "k@l.de", "view", 4.0, 1.0, -2.0, "1", 21],
    [9, "tie", 12.25, 2, "2024-05-09", "", "add", 1.5, 1.5, 0.0, "{", 34],
    [10, "sock", 7.0, 4, "2024-05-10", "m@n.de", "purchase", 2.0, 7.0, 9.0, "", 55],
]
TABLES = {
    "sales": ROWS,
    "empty": [],
    "nulls": [[i] + [None] * 11 for i in range(1, 4)],
}


def column(kind, **kwargs):
    return [{"type": f"expect_column_{kind}", "kwargs": kwargs}]


def mostly(kind, shares, **kwargs):
    return [e for share in [None, *shares]
            for e in column(kind, **kwargs, **({} if share is None else {"mostly": share}))]


def cases():
    out = []
    add = out.extend
    for name in ["price", "id", "item"]:
        add(mostly("values_to_not_be_null", [0.9, 0.91, 0.0, 1.0], column=name))
        add(mostly("values_to_be_null", [0.1, 0.11], column=name))
    for name in ["id", "item", "qty"]:
        add(mostly("values_to_be_unique", [0.6, 2 / 3, 0.67, 0.3], column=name))
    for low, high in [(0, 30), (0, 100), (None, 20), (9.5, None), (20, 20)]:
        for strict in [{}, {"strict_min": True}, {"strict_max": True}, {"strict_min": True, "strict_max": True}]:
            limits = {"min_value": low, "max_value": high, **strict}
            add(mostly("values_to_be_between", [5 / 9, 2 / 3, 7 / 9, 0.78, 0.8], column="price", **limits))
            for kind in ["min", "max", "mean", "median", "sum"]:
                add(column(f"{kind}_to_be_between", column="price", **limits))
            add(column("stdev_to_be_between", column="price", **limits))
            if low is not None:
                add(column("unique_value_count_to_be_between", column="price", min_value=low and 8, max_value=high, **strict))
    for low, high in [(0.8, 1), (8 / 9, 8 / 9), (0.9, 1), (None, 0.5)]:
        for name in ["price", "item", "qty"]:
            add(column("proportion_of_unique_values_to_be_between", column=name, min_value=low, max_value=high))
            add(column("proportion_of_non_null_values_to_be_between", column=name, min_value=low, max_value=high))
    for values in [["hat", "scarf"], ["hat", "scarf", "glove", "fur", "cap", "tie", "sock"], ["none"]]:
        add(mostly("values_to_be_in_set", [4 / 9, 0.45], column="item", value_set=values))
        add(mostly("values_to_not_be_in_set", [5 / 9, 0.56], column="item", value_set=values))
        for kind in ["be_in_set", "equal_set", "contain_set"]:
            add(column(f"distinct_values_to_{kind}", column="item", value_set=values))
        add(column("most_common_value_to_be_in_set", column="item", value_set=values))
    for values in [[1, 2], [1, 2, 3, 4, 5, 8]]:
        add(mostly("values_to_be_in_set", [0.5, 0.6], column="qty", value_set=values))
        add(column("distinct_values_to_equal_set", column="qty", value_set=values))
    for ties in [True, False]:
        for values in [[1], [3], [2, 3]]:
            add(column("most_common_value_to_be_in_set", column="qty", value_set=values, ties_okay=ties))
        add(column("most_common_value_to_be_in_set", column="kind", value_set=["view"], ties_okay=ties))
    for low, high in [(3, 5), (4, 4), (0, 3), (None, 4), (3, None)]:
        for strict in [{}, {"strict_min": True}]:
            add(mostly("value_lengths_to_be_between", [8 / 9, 0.5], column="item", min_value=low, max_value=high, **strict))
    add(mostly("value_lengths_to_equal", [1 / 3, 0.55, 5 / 9], column="item", value=3))
    for regex in ["^[a-z]+@", "@", "de$", "^$", "[A-Z]"]:
        add(mostly("values_to_match_regex", [5 / 9, 2 / 3, 7 / 9], column="mail", regex=regex))
        add(mostly("values_to_not_match_regex", [1 / 3, 2 / 9], column="mail", regex=regex))
    for on in ["any", "all"]:
        add(mostly("values_to_match_regex_list", [5 / 9, 7 / 9], column="mail", regex_list=["@", "de$"], match_on=on))
    add(mostly("values_to_not_match_regex_list", [2 / 9, 0.3], column="mail", regex_list=["@", "de$"]))
    for like in ["%@%", "_@_", "%.de", "", "n%y"]:
        add(mostly("values_to_match_like_pattern", [5 / 9, 7 / 9], column="mail", like_pattern=like))
        add(mostly("values_to_not_match_like_pattern", [1 / 3], column="mail", like_pattern=like))
    for on in ["any", "all"]:
        add(mostly("values_to_match_like_pattern_list", [5 / 9], column="mail", like_pattern_list=["%@%", "%.de"], match_on=on))
    add(mostly("values_to_not_match_like_pattern_list", [2 / 9], column="mail", like_pattern_list=["%@%", "%.de"]))
    for form in ["%Y-%m-%d", "%m/%d/%Y", "%Y"]:
        add(mostly("values_to_match_strftime_format", [7 / 9, 0.8], column="day", strftime_format=form))
    add(mostly("values_to_be_json_parseable", [2 / 3, 0.7], column="doc"))
    for strictly in [False, True]:
        for name in ["id", "seq", "price"]:
            add(mostly("values_to_be_increasing", [0.5], column=name, strictly=strictly))
            add(mostly("values_to_be_decreasing", [0.1], column=name, strictly=strictly))
    for quantiles, ranges in [
        ([0.0, 1.0], [[-1, -1], [100, 100]]), ([0.5], [[9, 10]]), ([0.5], [[10, None]]), ([0.25, 0.75], [[0, 9.5], [None, 30.5]]),
    ]:
        for name in ["price", "seq"]:
            add(column("quantile_values_to_be_between", column=name,
                       quantile_ranges={"quantiles": quantiles, "value_ranges": ranges}))
    for name in ["id", "price", "nothing"]:
        add(column("to_exist", column=name))
        add(column("to_exist", column=name, column_index=2))
    pairs = ["both_values_are_missing", "either_value_is_missing", "neither"]
    for ignore in [None, *pairs]:
        rows = {} if ignore is None else {"ignore_row_if": ignore}
        for share in [None, 0.375, 4 / 9, 0.5]:
            most = {} if share is None else {"mostly": share}
            ab = {"column_A": "a", "column_B": "b", **rows, **most}
            add(column("pair_values_to_be_equal", **ab))
            add(column("pair_values_a_to_be_greater_than_b", **ab))
            add(column("pair_values_a_to_be_greater_than_b", or_equal=True, **ab))
            add(column("pair_values_to_be_in_set", value_pairs_set=[[1.0, 1.0], [2.0, 1.0], [3.0, 3.0]], **ab))
    for ignore in [None, "all_values_are_missing", "any_value_is_missing", "never"]:
        rows = {} if ignore is None else {"ignore_row_if": ignore}
        for share in [None, 0.25, 0.5]:
            many = {**rows, **({} if share is None else {"mostly": share})}
            out.append({"type": "expect_compound_columns_to_be_unique", "kwargs": {"column_list": ["item", "price"], **many}})
            out.append({"type": "expect_compound_columns_to_be_unique", "kwargs": {"column_list": ["a", "b"], **many}})
            out.append({"type": "expect_multicolumn_sum_to_equal", "kwargs": {"column_list": ["a", "b", "c"], "sum_total": 3, **many}})
            out.append({"type": "expect_multicolumn_values_to_be_equal", "kwargs": {"column_list": ["a", "b", "c"], **many}})
            out.append({"type": "expect_select_column_values_to_be_unique_within_record", "kwargs": {"column_list": ["a", "b", "c"], **many}})
    for low, high in [(10, 10), (1, 9), (0, None), (None, 0), (11, None)]:
        for kind in ["row_count", "column_count"]:
            out.append({"type": f"expect_table_{kind}_to_be_between", "kwargs": {"min_value": low, "max_value": high}})
    for n in [0, 10, 12]:
        for kind in ["row_count", "column_count"]:
            out.append({"type": f"expect_table_{kind}_to_equal", "kwargs": {"value": n}})
    names = list(TYPES)
    for listed in [names, names[:-1], names[::-1], [*names, "more"]]:
        out.append({"type": "expect_table_columns_to_match_ordered_list", "kwargs": {"column_list": listed}})
        for exact in [None, True, False]:
            out.append({"type": "expect_table_columns_to_match_set",
                        "kwargs": {"column_set": listed, **({} if exact is None else {"exact_match": exact})}})
    conditions = [
        ("price > 9", "pandas"), ("price != 9.5", "pandas"), ("not (price > 9)", "pandas"),
        ("kind == \"view\" and qty < 3", "pandas"), ("kind in [\"view\", \"add\"]", "pandas"),
        ("kind not in [\"view\"] or price.isnull()", "pandas"), ("~(a == b) & a.notnull()", "pandas"),
        ("1 < qty <= 3", "pandas"),
        ("col(\"kind\") == \"view\"", "great_expectations"), ("col(\"price\").notnull()", "great_expectations"),
        ("col(\"qty\") >= 3", "great_expectations"), ("col(\"kind\") != \"view\"", "great_expectations"),
    ]
    for condition, parser in conditions:
        given = {"row_condition": condition, "condition_parser": parser}
        add(column("values_to_not_be_null", column="price", **given))
        add(column("values_to_not_be_null", column="price", mostly=0.5, **given))
        add(column("values_to_be_between", column="price", min_value=5, max_value=50, **given))
        add(column("values_to_be_unique", column="qty", **given))
        add(column("mean_to_be_between", column="price", min_value=9, max_value=15, **given))
        out.append({"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 3, "max_value": 7, **given}})
    kind = {"name": "kind"}
    view = {"type": "comparison", "column": kind, "operator": "==", "parameter": "view"}
    known = {"type": "nullity", "column": {"name": "item"}, "is_null": False}
    listed = {"type": "comparison", "column": {"name": "qty"}, "operator": "IN", "parameter": [1, 2]}
    other = {"type": "comparison", "column": {"name": "qty"}, "operator": "NOT_IN", "parameter": [1, 2]}
    for condition in [view, known, listed, other, {"type": "and", "conditions": [view, listed]}, {"type": "or", "conditions": [view, listed]}]:
        add(column("values_to_be_between", column="price", min_value=5, max_value=50, row_condition=condition))
        add(column("values_to_be_unique", column="item", row_condition=condition))
    return out


def run(batch, case):
    try:
        result = batch.validate(gx.ExpectationSuite(name="s", expectations=[
            ExpectationConfiguration(type=case["type"], kwargs=case["kwargs"]).to_domain_obj()
        ])).results[0]
    except Exception:
        return None
    if result.exception_info.get("raised_exception", True) is not False:
        return None
    found = result.result
    verdict = {"success": bool(result.success)}
    if found.get("unexpected_count") is not None and found.get("element_count") is not None:
        verdict["n_failed"] = int(found["unexpected_count"])
        verdict["n_checked"] = int(found["element_count"]) - int(found.get("missing_count") or 0)
    observed = found.get("observed_value")
    if isinstance(observed, (int, float)) and not isinstance(observed, bool):
        verdict["observed"] = None if observed != observed else observed
    return verdict


def main():
    context = gx.get_context(mode="ephemeral")
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "t.db")
    database = sqlite3.connect(path)
    sql = {"Int64": "INTEGER", "Float64": "FLOAT", "Utf8": "TEXT"}
    pandas_of = {"Int64": "int64", "Float64": "float64", "Utf8": "object"}
    batches = {}
    frames = {}
    pandas = context.data_sources.add_pandas("pandas")
    for name, rows in TABLES.items():
        columns = ", ".join(f"{column} {sql[kind]}" for column, kind in TYPES.items())
        database.execute(f"create table {name} ({columns})")
        database.executemany(f"insert into {name} values ({', '.join('?' * 12)})", rows)
        frame = pd.DataFrame(rows, columns=list(TYPES), dtype=object)
        for column, kind in TYPES.items():
            nullable = frame[column].isna().any()
            frame[column] = frame[column].astype("float64" if nullable and kind == "Int64" else pandas_of[kind])
        frames[name] = frame
    database.commit()
    sqlite = context.data_sources.add_sqlite("sqlite", connection_string=f"sqlite:///{path}")
    for name in TABLES:
        asset = pandas.add_dataframe_asset(name)
        batches["pandas", name] = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frames[name]})
        asset = sqlite.add_table_asset(name, table_name=name)
        batches["sqlite", name] = asset.add_batch_definition_whole_table("all").get_batch()
    made = []
    skipped = 0
    for table in TABLES:
        for case in cases():
            if table != "sales" and "mostly" in case["kwargs"]:
                continue
            verdicts = []
            for engine in ["pandas", "sqlite"]:
                verdict = run(batches[engine, table], case)
                if verdict is not None and verdict not in verdicts:
                    verdicts.append(verdict)
            if verdicts:
                made.append({"table": table, **case, "verdicts": verdicts})
            else:
                skipped += 1
    print(f"{len(made)} cases, {skipped} that no engine evaluates, "
          f"{sum(len(m['verdicts']) > 1 for m in made)} on which they differ", file=sys.stderr)
    lines = ",\n    ".join(json.dumps(m, separators=(", ", ": ")) for m in made)
    tables = json.dumps(TABLES)
    print("{\n" + f'  "great_expectations": "{gx.__version__}",\n  "pandas": "{pd.__version__}",\n'
          f'  "sqlite": "{sqlite3.sqlite_version}",\n  "types": {json.dumps(list(TYPES.items()))},\n  "tables": {tables},\n'
          f'  "cases": [\n    {lines}\n  ]\n' + "}")


if __name__ == "__main__":
    main()
