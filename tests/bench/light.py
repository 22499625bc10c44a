#!/usr/bin/env python3
"""Latency under light load: light.py [product.json] [--peer postfix] [--rates 20,50] [-n 3000] [--tls]

The product and a peer in turn, each at so many messages a second, paced by the clock whatever the answers. A
table of submit to accept and submit to arrival at the sink, and latency-under-light-load.png.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "peers")]
import kit  # noqa: E402
import plots  # noqa: E402
from compare import maker  # noqa: E402

SHOWN = ("accept_p50_ms", "accept_p99_ms", "latency_p50_ms", "latency_p99_ms", "latency_max_ms", "lost")


def measure(make, rates: list[float], o) -> list[dict]:
    folder = Path(tempfile.mkdtemp(prefix="bench-light-"))
    folder.chmod(0o755)
    sink = kit.Sink(folder, tls=o.tls)
    server = make(folder, sink.port, dkim=True, tls=o.tls, tuned=True)
    try:
        server.start()
        kit.wait_port(server.port)
        found = []
        with kit.lock():
            kit.timed_run(server.group, sink, server.target(), 300, "warm", folder, timeout=60)
            for rate in rates:
                run = kit.timed_run(
                    server.group, sink, server.target(), o.n, f"at{rate:g}", folder, rate=rate
                )
                found.append({"name": server.name, "rate": rate} | run)
        return found
    finally:
        server.stop()
        sink.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("product", nargs="?", default=str(HERE / "product.json"))
    p.add_argument("--peer", default="postfix")
    p.add_argument("--rates", default="20,50")
    p.add_argument("-n", type=int, default=3000)
    p.add_argument("--tls", action="store_true")
    p.add_argument("--smtp", action="store_true", help="submit to the product by SMTP although it has http")
    p.add_argument("--plot", type=Path, default=HERE / "results" / "latency-under-light-load.png")
    o = p.parse_args()
    rates = [float(rate) for rate in o.rates.split(",")]
    rows = measure(maker(o.product, o.smtp), rates, o) + measure(maker(o.peer, False), rates, o)
    print(f"{'':12} {'rate':>5} " + " ".join(f"{name:>15}" for name in SHOWN))
    for row in rows:
        print(f"{row['name']:12} {row['rate']:>5g} " + " ".join(f"{row[name]:>15}" for name in SHOWN))
    for ours, theirs in zip(rows[: len(rates)], rows[len(rates) :], strict=True):
        ratios = (f"{ours[name] / theirs[name]:>15.2f}" for name in SHOWN[:4])
        print(f"{'ratio':12} {ours['rate']:>5g} " + " ".join(ratios))
    plots.draw("latency", rows, o.plot)


if __name__ == "__main__":
    main()
