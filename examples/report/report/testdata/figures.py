"""Works out the figures that the tests hold the report against.

Independent of the Go code on purpose; uses nothing but Python's own library:

    python3 figures.py < ../birdstrikes.csv.gz > figures.json
"""

import collections
import csv
import decimal
import gzip
import io
import json
import sys

COLUMN = {
    "state": "Origin State",
    "operator": "Aircraft Airline Operator",
    "species": "Wildlife Species",
    "phase": "Phase of flight",
    "damage": "Effect Amount of damage",
    "size": "Wildlife Size",
    "daytime": "Time of day",
}

CASES = [{"groupBy": by} for by in [*COLUMN, "month", "year"]] + [
    {"groupBy": "operator", "years": [1999, 2000], "states": ["Texas", "California"]},
    {"groupBy": "year", "minCost": 100000},
    {"groupBy": "month", "years": [2002]},
    {"groupBy": "species", "states": ["DC"], "minCost": 1},
    {"groupBy": "phase", "years": [1990, 1995, 2001], "states": ["Texas", "Ohio", "Florida"], "minCost": 1000},
    {"groupBy": "state", "years": [2001], "states": ["Colorado"], "minCost": 100000000},
]


def cost(strike):
    return int(strike["Cost Total $"])


def key(strike, by):
    if by == "year":
        return strike["Flight Date"][:4]
    if by == "month":
        return strike["Flight Date"][:7]
    return strike[COLUMN[by]]


def tally(strikes):
    return {
        "strikes": len(strikes),
        "damaging": sum(s["Effect Amount of damage"] != "None" for s in strikes),
        "cost": sum(cost(s) for s in strikes),
        "unknownSpeed": sum(s["Speed IAS in knots"] == "" for s in strikes),
    }


def groups(strikes, by):
    out = collections.defaultdict(list)
    for s in strikes:
        out[key(s, by)].append(s)
    return out


def row(name, strikes):
    out = {"group": name, **tally(strikes)}
    speeds = [int(s["Speed IAS in knots"]) for s in strikes if s["Speed IAS in knots"] != ""]
    if speeds:
        mean = decimal.Decimal(sum(speeds)) / len(speeds)
        out["meanSpeed"] = float(mean.quantize(decimal.Decimal("0.1"), rounding=decimal.ROUND_HALF_UP))
    return out


def months(strikes):
    return [sum(cost(s) for s in strikes if int(s["Flight Date"][5:7]) == m) for m in range(1, 13)]


def report(strikes, by):
    dates = [s["Flight Date"] for s in strikes]
    species = sorted(groups(strikes, "species").items(), key=lambda g: (-len(g[1]), g[0]))[:10]
    phases = [
        {"name": name, **tally(g), "damage": dict(collections.Counter(s["Effect Amount of damage"] for s in g))}
        for name, g in groups(strikes, "phase").items()
    ]
    phases.sort(key=lambda p: (-p["damaging"], -p["strikes"], p["name"]))
    operators = sorted(groups(strikes, "operator").items(), key=lambda g: (-tally(g[1])["cost"], -len(g[1]), g[0]))
    rest = [s for _, g in operators[10:] for s in g]
    named = operators[:10] + ([("all others", rest)] if rest else [])
    out = {"total": tally(strikes), "groups": len(groups(strikes, by))}
    if dates:
        out |= {"from": min(dates), "to": max(dates)}
    return out | {
        "topSpecies": [{"name": name, **tally(g)} for name, g in species],
        "phases": phases,
        "operators": [{"name": name, **tally(g), "months": months(g)} for name, g in named],
        "months": months(strikes),
    }


def case(everything, params):
    by = params["groupBy"]
    strikes = [
        s
        for s in everything
        if int(s["Flight Date"][:4]) in params.get("years", range(1990, 2003))
        and ("states" not in params or s["Origin State"] in params["states"])
        and cost(s) >= params.get("minCost", 0)
    ]
    rows = [row(name, g) for name, g in groups(strikes, by).items()]
    rows.sort(key=lambda r: r["group"])
    if by not in ("month", "year"):
        rows.sort(key=lambda r: -r["strikes"])
    return {"params": params, "rows": rows, "report": report(strikes, by)}


def main():
    text = gzip.decompress(sys.stdin.buffer.read()).decode()
    strikes = list(csv.DictReader(io.StringIO(text)))
    cases = [json.dumps(case(strikes, params), separators=(",", ":")) for params in CASES]
    print("[\n" + ",\n".join(cases) + "\n]")


main()
