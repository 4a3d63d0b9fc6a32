"""One example for each verb, shown at the end of its help."""

from __future__ import annotations

EXAMPLES = {
    "capture": "edge-ad capture --camera 0 --every-s 1 --count 300 -o good/",
    "dataset": "edge-ad dataset good/",
    "methods": "edge-ad methods --json",
    "train": "edge-ad train --method draem --data good/ --budget-minutes 20 -o draem.pt",
    "attention": "edge-ad attention --digits digits/ -o attention.pt",
    "import": "edge-ad import model.onnx --adapter anomalib -o model.edge.onnx",
    "evaluate": "edge-ad evaluate draem.onnx --data labelled/ -o report/",
    "export": "edge-ad export draem.pt -o draem.onnx",
    "export-triton": "edge-ad export-triton draem.onnx --repository models/ --image good/part.png",
    "convert": "edge-ad convert draem.onnx --precision fp16 -o draem.fp16.onnx",
    "calibrate": "edge-ad calibrate draem.onnx --images good/ --target tensorrt",
    "build": "edge-ad build draem.onnx -o draem.plan",
    "verify": "edge-ad verify draem.onnx draem.plan --images good/",
    "threshold": "edge-ad threshold draem.onnx --images more-good/ --false-alarm-rate 0.01",
    "run": "edge-ad run --camera 0 --engine draem.onnx -o shift/",
    "service": "edge-ad service line1 --camera 0 --engine draem.onnx -o line1/",
    "ctl": 'edge-ad ctl shift/ threshold 0.42 --camera top --reason "new varnish"',
    "page": "edge-ad page shift/ --listen 127.0.0.1:8080",
    "events": "edge-ad events shift/ --since 8h --type alarm",
    "outbox": "edge-ad outbox shift/ --retry",
    "outlet": "edge-ad outlet test mqtt://broker.local/hall/3",
    "drift": "edge-ad drift shift/",
    "samples": "edge-ad samples shift/ --kind borderline",
    "report": "edge-ad report shift/ --since 8h -o shift.html",
    "sheet": "edge-ad sheet shift/",
    "rejudge": "edge-ad rejudge --engine new.onnx --against old.onnx --images archive/ "
    "-o month.parquet",
    "bundle": "edge-ad bundle install plates-7.edgead --into /srv/line1",
    "bundle create": "edge-ad bundle create line.yaml --product plates --version 7 "
    "--self-test known/ --key release.key -o plates-7.edgead",
    "bundle sign": "edge-ad bundle sign plates-7.edgead --key second.key",
    "bundle verify": "edge-ad bundle verify plates-7.edgead --trust trust.yaml",
    "bundle inspect": "edge-ad bundle inspect plates-7.edgead",
    "bundle install": "edge-ad bundle install plates-7.edgead --into /srv/line1 "
    "--restart 'systemctl restart edge-ad-line1' --watch",
    "bundle watch": "edge-ad bundle watch /srv/line1 --restart 'systemctl restart edge-ad-line1'",
    "bundle rollback": (
        "edge-ad bundle rollback /srv/line1 --reason 'rejects good parts' "
        "--restart 'systemctl restart edge-ad-line1'"
    ),
    "bundle site": "edge-ad bundle site /srv/line1",
    "bundle status": "edge-ad bundle status /srv/line1",
    "keys": "edge-ad keys new release.key",
    "keys new": "edge-ad keys new release.key --passphrase",
    "keys show": "edge-ad keys show release.key.pub",
    "keys trust": "edge-ad keys trust release.key.pub --name 'release 2026'",
    "keys revoke": "edge-ad keys revoke 'release 2026' --reason 'laptop stolen'",
    "bench": "edge-ad bench --engine draem.onnx --camera part.mp4 --assert 'p99_ms<40'",
    "inspect": "edge-ad inspect draem.onnx",
    "doctor": "edge-ad doctor",
}
