"""Headings of docs/benchmarks.md, and what each bench measures, in the order of the page."""

from __future__ import annotations

# bench -> its heading and what it measures
SECTIONS = {
    "training": (
        "Training",
        "DeSTSeg at 128x128 and a quarter of the width, trained for 20 minutes on two cores, on "
        "the whole labelled test part.",
    ),
    "methods": (
        "Methods",
        "The edge preset of every method, in fp32. [Methods, measured](methods-measured.md) has "
        "intervals, false alarms on unseen parts, fp16, int8 and the cost of training.",
    ),
    "inputs": (
        "Input and levels of a memory bank",
        "On parts set aside, with synthetic anomalies; no test image was read. Image AUROC over "
        "all kinds, over the fine ones alone (specks and hairlines), and the pixel AP of these.",
    ),
    "backbones": (
        "Backbones of a memory bank",
        "As above, levels 2 and 3 of three backbones at two sizes of the input; pixel AP is that "
        "over all kinds. [Methods, measured](methods-measured.md#backbones-of-a-memory-bank) says "
        "what follows.",
    ),
    "cells": (
        "Cells of a memory bank",
        "On parts set aside, divided again in each of three draws, with synthetic anomalies of "
        "seven kinds; no test image was read. `caught` and `rejected` are the shares of anomalous "
        "and of unseen normal tiles above the highest score of parts for the threshold. "
        "[Methods, measured](methods-measured.md#cells-of-a-memory-bank) says what the rows are "
        "and which rule decides.",
    ),
    "priors": (
        "Priors of DeSTSeg",
        "On parts set aside, with synthetic anomalies of seven kinds; no test image was read. One "
        "training for each set, to which every prior is added; means over three draws of anomalies "
        "and memory, each with the branch that is best with this prior. `taken` is in how many "
        "draws `--prior auto` takes it.",
    ),
    "settings": (
        "Settings of the restorers",
        "Image AUROC of EAR and PMB with and without the mosaic, and with a higher weight on "
        "anomalous pixels; `seed 7` is a generated line that was never used for training.",
    ),
    "noise": (
        "Sensitivity to noise",
        "How far one grey level of noise moves an anomaly map, relative to its largest value, and "
        "the score, relative to the largest of normal images; least and most sensitive method.",
    ),
    "fp16": ("fp16", "fp16 against fp32 on ONNX Runtime, on labelled magnetic tiles."),
    "int8_gate": (
        "int8: accuracy gate",
        "`edge-ad calibrate` with the default limits on labelled images.",
    ),
    "int8_quantizers": (
        "int8: quantizers",
        "Relative error of the anomaly map with edge-ad's Q/DQ placement and with ONNX Runtime's "
        "quantizer, given the same images and ranges; see [int8.md](int8.md).",
    ),
    "int8_speed": ("int8: speed", "DeSTSeg at 256x256 in full width, on ONNX Runtime."),
    "runtimes": (
        "int8 and fp32: ONNX Runtime and OpenVINO",
        "Milliseconds a call of the same file under both, in turn, with one thread; `times "
        "faster` is OpenVINO's, in processor time. The machine was busy while the edge presets "
        "were measured (`load average`), which stretches the time that passes. The largest "
        "difference of two scores is a share of the median score: in "
        "int8 both are as far from fp32 as from each other, so each needs its own threshold. "
        "`edge untrained` are edge presets with seeded weights.",
    ),
    "int8_layers": (
        "int8: where the time goes",
        "Milliseconds of one core a call of the edge presets at 128x128, on ONNX Runtime, and the "
        "parts of it: convolutions and matrix products that int8 computes, those that stay float, "
        "everything else. `limit` is what int8 would reach if its products took a quarter of "
        "their time in fp32, all that the processor's instructions allow, and the rest as long as "
        "in fp32; `limit free` is with products that take no time. See "
        "[what was tried](#what-was-tried).",
    ),
    "int8_calibration": (
        "int8: cost of the ranges",
        "Collecting the ranges of 512 images, DeSTSeg at 256x256 in full width.",
    ),
    "int8_sensitivity": (
        "int8: cost of the sensitivity analysis",
        "Each of the 31 blocks measured alone in int8, and all but it.",
    ),
    "loop": ("The loop", "`edge-ad run` on a video against the engine alone, in turn."),
    "streams": (
        "Four live streams",
        "Verdicts a second of four live streams on one engine against the engine's own calls a "
        "second, in turn; each stream delivers a quarter more than the engine can take. The line "
        "chooses its threads while it runs, and the engine alone keeps its own, which is why the "
        "ratio can exceed 1; rounds vary by a tenth. `busy` is the share of the time in which the "
        "engine works.",
    ),
    "opcua": (
        "OPC UA clients",
        "For ten minutes, ten clients connect to a line's server, subscribe to every variable and "
        "leave, half of them by dropping the connection, while two cameras have fifty results a "
        "second. "
        "The memory of the server (MiB, medians of a third of the time), what handing over a "
        "result costs the line (microseconds), and how late a client that stays receives a reject "
        "(ms). Other work ran on the two cores meanwhile.",
    ),
    "store": (
        "The store",
        "A line that rejects every part, killed at 200 random moments and started again: what was "
        "seen committed and is lost or damaged, parts that got a number twice, alarms left open. "
        "And 100 000 events at once (microseconds for the line's thread and for the store, of the "
        "second and last 10 000), then single ones (milliseconds to the commit) beside what the "
        "disk takes to keep 4 KiB. The machine was busy: a load of 12 on two cores.",
    ),
    "bundle": (
        "Bundles",
        "A signed bundle damaged at random (bits, bytes, blocks removed, doubled, swapped, mixed "
        "with another signed version) and offered to an install; and installs killed (SIGKILL) 20 "
        "times in each of their 12 steps, at its beginning and at random moments, each followed by "
        "an install that must succeed. A broken line has a link that leads nowhere, or a file that "
        "is missing or changed.",
    ),
    "rejudge": (
        "Archives judged again",
        "A job of `edge-ad rejudge` killed (SIGKILL) at random moments, each time continued by the "
        "same command, and one on a Ray cluster of two nodes of which one is killed half-way: rows "
        "against those of an undisturbed job. `workers`: the shipped engine on PNG files of "
        "512x512 noise, which are slow to decode, one core for each worker, best of three; the "
        "machine was otherwise idle.",
    ),
    "plc": (
        "Verdicts to a PLC",
        "Milliseconds from a verdict, at 30 frames/s with an engine that costs nearly nothing, to "
        "the read that shows it to a Modbus master that polls each millisecond, to the write that "
        "reaches a PLC, and to the GPIO library. The machine was shared; wakeup is how late a "
        "process that only sleeps was woken meanwhile.",
    ),
    "outlets": (
        "Outlets",
        "What a store recorded against what a subscriber of a real Mosquitto received: 10 000 "
        "events made while the broker is away (`away`), then 500 a second while the broker is "
        "restarted and the line killed at random moments, with a slow subscriber; 200 a second for "
        "ten minutes. Milliseconds from the verdict to the subscriber, of events, which are on "
        "the disk first, and of verdicts, beside what the disk takes to keep 4 KiB (`sync`). "
        "The machine was shared, at loads of 9 to 20 on two cores; `priority` in the files says "
        "what went before others: without it, latency is that of the scheduler.",
    ),
    "cameras": (
        "Cameras that come and go",
        "An RTSP server of GStreamer with H.264 and Aravis' fake GigE camera beside an emulated "
        "Basler camera on one `run`, each with 10 frames/s: killed or stopped for five seconds, "
        "again and again. Seconds from its return to its next verdict: for RTSP, up to 1 s of them "
        "until its next key frame. A camera that flaps has one standing fault. Growth is "
        "of the process's own memory since every camera was away once, after thirty more losses.",
    ),
    "line": (
        "The line itself",
        "On an engine that costs nothing. Soak: frames of 64x64 pixels at once, one in 500 "
        "rejected, with store and evidence images; growth of the process after 200 000 frames. "
        "Eight: cameras of 640x480 at 30 frames/s. Others: the slowest of three such cameras "
        "beside one that is dead, hangs, or is ten times slower, and its rate over that beside a "
        "healthy one.",
    ),
    "overhead": (
        "Beside the engine",
        "Milliseconds that one 1920x1080 frame keeps a line busy on one core beside an engine, "
        "which costs nothing or is the sample's on the same core, whose calls do not count: `gate` "
        "checks the frame, `scaling` makes the engine's image, and the rest is the verdict, "
        "statistics, drift and the store. 30 frames/s, each copied just before, as a driver does; "
        "a grey camera's have one plane.",
    ),
    "threads": (
        "Threads under load",
        "The sample engine beside busy processes: fixed settings of ONNX Runtime's threads, and "
        "`run`, which chooses among them while it runs; in turn, in blocks of 20 calls, without "
        "the calls that try other settings (one in 250). The machine was shared: these processes "
        "had priority over the others', which still took caches and moved threads.",
    ),
    "verdict": (
        "From image file to verdict",
        "Decoding, cutting, network and score, on ONNX Runtime with one thread. Processor time is "
        "what an idle core takes; the machine was busy, which stretches the time that passes. "
        "PatchCore in fp32 and int8 at 224x224, trained on bottles; DeSTSeg's edge preset in "
        "int8 at 128x128, trained on magnetic tiles, without a prior and with each: its branch is "
        "`distance`, the cheapest.",
    ),
    "neighbours_core": (
        "Beside its neighbours",
        "DRAEM at 256x256 with the same seeded weights, from image file to verdict: anomalib 2.7 "
        "and AnomaVision 3.6 as their documentation shows, each in its environment, a loop as one "
        "writes it first, and bare sessions, which only read, scale and compute. All take turns on "
        "the same images, bound to one core, before all other work of the machine (a real-time "
        "priority). ONNX Runtime places its threads itself and took both cores, so compare "
        "`processor ms`, which is what the cores work. `int8 times faster` is edge-ad's int8 under "
        "ONNX Runtime against each, in processor time, round by round, `int8 openvino times "
        "faster` that under `--runtime openvino`; `score apart` is the largest "
        "difference to edge-ad's fp32 scores. `anomalib OpenVINO` and `bare OpenVINO default` "
        "compute in bfloat16, since the processor has it. `install MiB` counts "
        "packages without pip, with torch for the CPU; of the naive loop and bare sessions it is "
        "that of edge-ad's environment, without OpenVINO. `python "
        "benchmarks/bench_neighbours.py` makes and measures all of it.",
    ),
    "neighbours": (
        "Beside its neighbours, with all cores",
        "The same with as many threads as each tool chooses, before all other work of the machine "
        "(`nice -19`); `int8 times faster` is of the time that passes. Both cores ran at half the "
        "speed of an earlier, quieter day, for all tools alike, and runs of one day differ: by 5.3 "
        "to 6.1 and 1.9 to 2.1 times anomalib's Torch and OpenVINO in three.",
    ),
    "history": (
        "What a line has behind it",
        "Microseconds of processor time a frame on an engine that costs nothing, store and "
        "evidence included, one frame in 500 rejected: in a new folder, in folders with past "
        "events and evidence images, and late in a line of 200 000 frames, as ratios to a new "
        "folder and to its own beginning. Opening is that of the store and the evidence folder. "
        "Both cores were free: threads then work at the same time and hand Python's lock to each "
        "other, which doubles the 80 microseconds of a busy machine and varies by 15 %.",
    ),
    "start": (
        "Start",
        "A fresh process, from the command to its first verdict, and its memory over the footage: "
        "resident, and its own part of it, in which libraries that another process has too count "
        "in parts (PSS). `folder` is a run over the footage's frames as PNG files, which needs no "
        "decoder of videos. `initial` is the first start on a machine, which optimises the graph; "
        "later ones map it. On a device: `pip install edge-ad[onnxruntime,video]`, beside the "
        "checkout's environment with all extras.",
    ),
    "parts": (
        "Parts",
        "Parts found from the images, and from names with groups joined that show one part, "
        "against listed parts; the threshold was chosen on the training tiles and the bottles. "
        "In bottle, fabric, macaroni and metal plate every image is taken for a part, so that "
        "each pair is a false one. By eye, bottles 069 and 070 are one bottle, and all 41 false "
        "pairs of the training tiles are of tiles that are listed twice (123 and 125, 111 and "
        "173). Line: frames of a plate in one region; the plates differ in the grain of the "
        "metal alone.",
    ),
    "recognition": (
        "Recognition of parts",
        "Whether looks tell parts apart: of up to 40 images a second exposure is simulated "
        "(`tried`) and must be `recognised` in half of them, and parts must not lie at any angle; "
        "else their number is an `upper bound` (1). `pair recall` is the share of pairs of images "
        "of one part that were found. Of the drawn parts there are two shots each, in other light, "
        "moved, turned by up to 2 degrees (`turned`: at any angle) and with noise of 2 grey "
        "levels; `jpeg`: quality 75, and noise of 4.",
    ),
    "fuzz": (
        "Mutated inputs",
        "Files and folders with flipped bits, cut ends, exchanged values, lost and moved files, "
        "given to the public functions and verbs. A finding is a traceback, a hang, a process that "
        "dies, a count that does not add up, a refusal without the file's name, or a file left by "
        "a refused verb.",
    ),
    "fuzz_page": (
        "Mutated requests",
        "Every address of the operator's page with odd values in its path, query, headers and "
        "body, as an admin, and raw bytes in between. A finding is an answer of 500, none at all, "
        "or a page that does not answer afterwards.",
    ),
    "live": (
        "The line beside its page",
        "Milliseconds from a frame to its verdict, on an engine that costs nearly nothing, with "
        "eight cameras of 1280x960 at 25 frames/s, alone and with three tabs that draw as fast as "
        "they may, in turn. The ratio is of the 99th percentiles of all turns, with its 95 % "
        "interval over the pairs of turns. Line and page went before other work of the machine.",
    ),
    "live_stop": (
        "Ending the page",
        "Seconds from SIGTERM to the end of a page with open sockets.",
    ),
    "live_tab": (
        "A tab of the page",
        "In Chromium: first contentful paint and bytes of a first visit, and the heap of its "
        "script after 100 and 1000 messages.",
    ),
    "page": (
        "Questions to the page",
        "Processor time of the answers over a week of 100 000 events, with a week of statistics "
        "by the minute.",
    ),
}
