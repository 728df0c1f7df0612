"""What the files in `corpus/` say: the text that extraction is compared with."""

# ruff: noqa: E501

from typing import Any

TITLE = "Velmar 300 Coffee Machine: Service Manual"
# (kind, text or rows); a heading's kind is its level.
MANUAL: list[tuple[str, Any]] = [
    ("1", "1 Before you begin"),
    (
        "p",
        "The Velmar 300 is a two-boiler machine for offices of up to 40 people. It weighs 27.5 kg, draws "
        "2,900 W at 230 V (50/60 Hz), and must never be lifted by its steam wand. Read chapters 1–3 before "
        "you connect it; the warranty (24 months) does not cover damage by limescale.",
    ),
    (
        "p",
        "Parts are named as in the drawing on the inside of the door: the brew group “BG-2”, the café "
        "valve, and the drip tray with its float. Write to service@velmar.example for spare parts, and "
        "quote the serial number, e.g. VM300-2024-00117-C.",
    ),
    ("2", "1.1 Water"),
    (
        "p",
        "Use water of 4–8 °dH. Harder water needs the filter cartridge; softer water makes the level "
        "probe report error E-07, because its conductivity falls below 80 µS/cm. Run `vmctl --probe "
        "--verbose | tee probe.log` from the service port to see the raw value.",
    ),
    ("2", "1.2 Error codes"),
    ("p", "The display shows one code at a time; older ones are kept in the log."),
    (
        "table",
        [
            ["Code", "Meaning", "First step", "Stops brewing"],
            ["E-01", "Tank empty", "Fill to the MAX line", "yes"],
            ["E-07", "Probe reads < 80 µS/cm", "Check the water's hardness", "yes"],
            ["E-12", "Grinder blocked (> 9.5 A)", "Remove the burr; clean it", "yes"],
            ["W-03", "Descale in 14 days", "Order kit 300-D", "no"],
        ],
    ),
    ("1", "2 Descaling"),
    (
        "p",
        "Descale every 3 months or 5,000 cups, whichever comes first. The cycle takes 38 minutes, and the "
        "machine cannot be used meanwhile.",
    ),
    (
        "list",
        [
            "Empty the drip tray and put a 2-litre bowl under the outlet.",
            "Dissolve 120 g of citric acid in 1.5 l of warm (not hot!) water.",
            "Hold [MENU] + [↓] for 5 s, then choose “Descale → Start”.",
            "Rinse twice with fresh water; the pH must be 6.5–7.5 afterwards.",
        ],
    ),
    (
        "p",
        "Never interrupt a cycle: acid that stays in the boiler corrodes its seals within hours. If the "
        "power fails, the machine resumes with rinsing, and shows W-09 until both rinses are done.",
    ),
    ("1", "3 清洁与保养"),
    (
        "p",
        "每天营业结束后，请用湿布擦拭蒸汽棒，并空喷蒸汽 3 秒钟。切勿使用含氯的清洁剂：它会腐蚀 304 "
        "不锈钢表面。冲煮头每周拆洗一次；密封圈（型号 VM-8.5）每 6 个月更换一次，更换时请先断开"
        "电源并等待锅炉压力降到 0.2 bar 以下。",
    ),
    (
        "p",
        "如果屏幕显示“E-12”，说明磨豆机被异物卡住。先关机，再取出上刀盘，用毛刷清理残粉，然后按"
        "“校准”键重新设定研磨度。仍不能解决时，请拨打售后电话，并说明机器的序列号。",
    ),
    ("1", "4 Technical data"),
    (
        "table",
        [
            ["Item", "Value", "Unit"],
            ["Steam boiler", "3.5", "l"],
            ["Brew pressure", "9.0", "bar"],
            ["Noise while grinding", "68", "dB(A)"],
            ["Ambient temperature", "5–35", "°C"],
        ],
    ),
    (
        "p",
        "The manufacturer may change these data without notice. This manual describes firmware 4.2.1; "
        "for older firmware see velmar.example/manuals?fw=3 and its appendix B.",
    ),
]

# As Excel holds it, and as it has to come out again.
STOCK = [
    ["Part no.", "Name", "In stock", "Price (€)", "Last counted"],
    ["300-D", "Descaling kit, 2 sachets", "1204", "12.5", "2026-03-31"],
    ["VM-8.5", "密封圈 8.5 mm", "87", "0.95", "2026-04-02"],
    ["BG-2", "Brew group; “refurbished”", "3", "189", "2025-12-01"],
]

# A page of a saved site: what it says, between what every page says.
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Descaling – Velmar help</title>
<style>nav {{ color: red }}</style><script>track("page");</script></head><body>
<header><a href="index.html">Velmar</a><nav class="main-nav"><ul><li><a href="index.html">Home</a></li>
<li><a href="shop.html">Shop</a></li><li><a href="help.html">Help centre</a></li></ul></nav></header>
<div id="cookie-banner">We use cookies to improve your experience. <button>Accept all</button></div>
<div class="ad-banner">Buy now! 50 % off all grinders, only today. <a href="/x">Click here</a></div>
<main><article>{content}</article></main>
<aside class="sidebar"><h3>Related articles</h3><ul><li><a href="q.html">How to clean the wand</a></li></ul>
<div class="sponsored">Sponsored: the best beans of the year, from 9.99</div></aside>
<footer>© 2026 Velmar GmbH · <a href="i.html">Imprint</a> · <a href="p.html">Privacy</a></footer>
</body></html>"""
NOISE = (
    "Accept all",
    "50 % off",
    "Help centre",
    "Related",
    "Sponsored",
    "Imprint",
    "track(",
    "red",
)


def prose() -> str:
    """The manual without its tables and marks of lists."""
    said = [TITLE]
    for kind, what in MANUAL:
        if kind != "table":
            said += [what] if isinstance(what, str) else what
    return "\n".join(said)


def tables() -> list[list[list[str]]]:
    return [what for kind, what in MANUAL if kind == "table"]
