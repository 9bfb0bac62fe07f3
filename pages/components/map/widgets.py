"""What JavaScript draws on the map: facets with bars, and a card for the point under the mouse.

Streamlit's charts report no hovering, no zoom, and no click while a lasso can be drawn. `gestures`
listens to the chart itself, shows cards from texts that are in the browser already, and reports
clicks and zooms to Python. Texts of the data set only ever become text nodes.
"""

import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from pages.components import cache, text

CARDS = 340_000  # letters of all cards together: a gesture stays below a megabyte
CARD = (100, 90)  # letters of a prompt and of what a side adds, at most
READ = 600  # letters of a completion that are compared
EDGES = string.punctuation + "“”‘’…–—"  # of a word
FACETS_CSS = """
.facets { font: 0.8rem/1.35 var(--st-font); color: var(--st-text-color); }
button { font: inherit; color: inherit; border: 0; background: none; cursor: pointer; }
button:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: -2px; }
.top { display: flex; gap: .4rem; margin-bottom: .4rem; flex-wrap: wrap; }
.top button { border: 1px solid var(--st-border-color); border-radius: .4rem;
  padding: .15rem .5rem; }
.top button:disabled { opacity: .5; cursor: default; }
h3 { font-size: .8rem; margin: .55rem 0 .15rem; font-weight: 600; }
.option { position: relative; display: flex; width: 100%; gap: .35rem; padding: .12rem .3rem;
  text-align: left; border-radius: .25rem; align-items: center; overflow: hidden;
  min-height: 24px; }
.option[aria-pressed="true"] { box-shadow: inset 0 0 0 1.5px var(--st-primary-color); }
.bar { position: absolute; inset: 0 auto 0 0; opacity: .22; z-index: 0; }
.swatch { width: .6rem; height: .6rem; border-radius: 50%; flex: none; z-index: 1; }
.label { flex: 1; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; z-index: 1; }
.count { z-index: 1; font-variant-numeric: tabular-nums; }
.unit { position: absolute; clip-path: inset(50%); }
.more { text-decoration: underline; padding: .1rem .3rem; min-height: 24px; }
"""
FACETS_JS = """
export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".facets");
  root.opened ??= new Set();
  const make = (tag, name, words) => {
    const node = document.createElement(tag);
    node.className = name;
    if (words !== undefined) node.textContent = words;
    return node;
  };
  const draw = () => {
    const focused = parentElement.activeElement?.dataset?.id ?? root.focus;
    root.replaceChildren();
    const top = root.appendChild(make("div", "top"));
    const copy = top.appendChild(make("button", "", "Copy link"));
    copy.onclick = async () => {
      try {
        await navigator.clipboard.writeText(location.href);
        copy.textContent = "Copied ✓";
      } catch { prompt("The link to this view", location.href); }
      setTimeout(() => (copy.textContent = "Copy link"), 2500);
    };
    const clear = top.appendChild(make("button", "", "Clear all"));
    clear.disabled = !data.any;
    clear.onclick = () => setTriggerValue("toggle", ["", ""]);
    for (const facet of data.facets) {
      const group = root.appendChild(make("div", ""));
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", facet.title);
      group.appendChild(make("h3", "", facet.title));
      const most = Math.max(1, ...facet.options.map((option) => option.n));
      const open = root.opened.has(facet.key);
      const few = open ? facet.options : facet.options.filter((o, i) => i < data.few || o.on);
      for (const option of few) {
        const button = group.appendChild(make("button", "option"));
        button.title = `${option.label}: ${option.n.toLocaleString("en")} pairs`;
        button.dataset.id = `${facet.key}/${option.id}`;
        button.setAttribute("aria-pressed", option.on);
        const bar = button.appendChild(make("span", "bar"));
        bar.style.width = `${(100 * option.n) / most}%`;
        bar.style.background = option.color ?? "var(--st-primary-color)";
        if (option.color)
          button.appendChild(make("span", "swatch")).style.background = option.color;
        button.appendChild(make("span", "label", option.label));
        button.append(" ", make("span", "count", option.n.toLocaleString("en")), " ");
        button.appendChild(make("span", "unit", "pairs"));
        button.onclick = () => {
          root.focus = button.dataset.id;
          setTriggerValue("toggle", [facet.key, option.id]);
        };
        if (button.dataset.id === focused) button.focus({ preventScroll: true });
      }
      if (facet.options.length > data.few) {
        const rest = open ? "fewer" : `${facet.options.length - data.few} more`;
        group.appendChild(make("button", "more", rest)).onclick = () => {
          open ? root.opened.delete(facet.key) : root.opened.add(facet.key);
          draw();
        };
      }
    }
  };
  draw();
}
"""
CARD_CSS = """
.card { position: fixed; z-index: 999990; max-width: 23rem; padding: .55rem .7rem; display: none;
  pointer-events: none; border-radius: .45rem; font: .8rem/1.35 var(--st-font);
  border: 1px solid var(--st-border-color); color: var(--st-text-color);
  background: var(--st-background-color); box-shadow: 0 2px 10px rgba(0,0,0,.25); }
.card div { overflow-wrap: anywhere; margin-bottom: .2rem; }
.card .adds::before { content: "+ "; font-weight: 700; }
.card .loses::before { content: "− "; font-weight: 700; }
.card .adds { border-left: 3px solid #009E73; padding-left: .4rem; }
.card .loses { border-left: 3px solid #D55E00; padding-left: .4rem; }
.card .prompt { font-weight: 600; }
"""
CARD_JS = """
export default function ({ data, parentElement, setTriggerValue }) {
  const card = parentElement.querySelector(".card");
  const number = new Map(data.rows.map((row, i) => [row, i]));
  let chart = null, zoomed = null, pressed = null;
  const rowOf = (event) => {
    const point = event.points?.[0];
    const row = point?.customdata;
    return row === undefined || row === null ? undefined : Number(row);
  };
  const hover = (event) => {
    const i = number.get(rowOf(event));
    if (i === undefined) return;
    card.replaceChildren();
    const parts = {
      prompt: data.prompt[i], adds: data.adds[i], loses: data.loses[i],
      facts: [data.names[data.cluster[i]], data.fact[i]].filter(Boolean).join(" · "),
    };
    for (const [name, words] of Object.entries(parts)) {
      if (!words) continue;
      const line = card.appendChild(document.createElement("div"));
      line.className = name;
      line.textContent = words;
    }
    card.style.display = "block";
    const { clientX: x, clientY: y } = event.event, box = card.getBoundingClientRect();
    const left = x + 16 + box.width > innerWidth ? x - 16 - box.width : x + 16;
    card.style.left = `${Math.max(4, left)}px`;
    card.style.top = `${Math.max(4, Math.min(y + 14, innerHeight - box.height - 8))}px`;
  };
  const unhover = () => (card.style.display = "none");
  const named = ({ clientX: x, clientY: y }) => {
    for (const node of chart.querySelectorAll("g.annotation")) {
      const { left, right, top, bottom } = node.getBoundingClientRect();
      if (x >= left && x <= right && y >= top && y <= bottom)
        return chart.layout.annotations[Number(node.dataset.index)].name;
    }
  };
  const click = (event) => {
    const row = rowOf(event);
    // as text: 0 would be no value
    if (row !== undefined && !named(event.event)) setTriggerValue("row", `${row}`);
  };
  const press = (event) => (pressed = event.target.closest(".draglayer") && event);
  const moved = ({ clientX, clientY, target }) => {
    if (!target.closest?.(".draglayer")) unhover();  // Plotly tells of it late, or never
    if (pressed && Math.hypot(clientX - pressed.clientX, clientY - pressed.clientY) > 3)
      pressed = null;  // a lasso, which may begin and end on a name
  };
  const choose = (event) => {
    const id = pressed && chart ? named(event) : null;
    pressed = null;
    if (id) setTriggerValue("cluster", id);
  };
  const zoom = (change) => {
    if (!Object.keys(change).some((name) => /^[xy]axis/.test(name))) return;
    clearTimeout(zoomed);
    const { xaxis, yaxis } = chart._fullLayout;
    const all = change["xaxis.autorange"] || change["yaxis.autorange"];
    const view = all ? ["all"] : [...xaxis.range, ...yaxis.range];
    zoomed = setTimeout(() => setTriggerValue("view", view), 350);
  };
  const wheel = (event) => {
    if (!event.ctrlKey && !event.metaKey) event.stopImmediatePropagation();
  };
  const mark = () => {
    let ring = chart.querySelector(":scope > .pinned");
    if (!ring) {
      ring = chart.appendChild(document.createElement("div"));
      ring.className = "pinned";
      ring.style.cssText = "position:absolute;width:18px;height:18px;margin:-9px;border-radius:50%;"
        + "border:3px solid #111;outline:2px solid #fff;pointer-events:none;z-index:5";
    }
    const { xaxis, yaxis } = chart._fullLayout;
    const [x, y] = data.pin ?? [NaN, NaN];
    const left = xaxis.l2p(x), top = yaxis.l2p(y);
    const seen = left >= 0 && left <= xaxis._length && top >= 0 && top <= yaxis._length;
    ring.style.display = seen ? "block" : "none";
    ring.style.left = `${xaxis._offset + left}px`;
    ring.style.top = `${yaxis._offset + top}px`;
  };
  const events = { plotly_hover: hover, plotly_unhover: unhover, plotly_click: click,
    plotly_relayout: zoom, plotly_afterplot: mark };
  const native = { wheel, pointerdown: press };
  const leave = () => {
    if (!chart) return;
    for (const [name, act] of Object.entries(events)) chart.removeListener?.(name, act);
    for (const [name, act] of Object.entries(native))
      chart.removeEventListener(name, act, { capture: true });
    chart = null;
  };
  const attach = () => {
    const found = document.querySelector(`.st-key-${data.chart} .js-plotly-plot`);
    if (!found?.on || !found._fullLayout?.xaxis || found === chart) return;
    leave(); chart = found;
    for (const [name, act] of Object.entries(events)) chart.on(name, act);
    for (const [name, act] of Object.entries(native))
      chart.addEventListener(name, act, { capture: true });
    mark();
  };
  attach();
  const timer = setInterval(attach, 200);
  const page = { pointermove: moved, pointerup: choose };  // Plotly covers the page in a drag
  for (const [name, act] of Object.entries(page)) document.addEventListener(name, act, true);
  return () => {
    for (const [name, act] of Object.entries(page)) document.removeEventListener(name, act, true);
    clearInterval(timer); clearTimeout(zoomed); unhover(); leave();
  };
}
"""
_facets = st.components.v2.component(
    "pairtrace_facets", html='<div class="facets"></div>', css=FACETS_CSS, js=FACETS_JS
)
_gestures = st.components.v2.component(
    "pairtrace_gestures", html='<div class="card" role="tooltip"></div>', css=CARD_CSS, js=CARD_JS
)


def facets(
    listed: Sequence[Mapping[str, Any]],
    *,
    few: int,
    toggle: Callable[[str, str], None],
    anything: bool,
) -> None:
    """Facets, each `key, title, options`, and each option `id, label, n, on, color`.

    `few` options of each are drawn at first. `toggle` gets the facet and the option that was
    clicked; both are empty to clear all, if `anything` is chosen, here or elsewhere.
    """

    def clicked() -> None:
        toggle(*st.session_state["facets"]["toggle"])

    _facets(
        key="facets",
        data={"facets": list(listed), "few": few, "any": anything},
        on_toggle_change=clicked,
    )


def gestures(
    chart: str,
    cards: Mapping[str, Any],
    clusters: tuple[NDArray[np.integer], Sequence[str]],
    pin: tuple[float, float] | None,
) -> Any:
    """Cards over a chart in a container of this key; what was done: `row`, `cluster` or `view`.

    `clusters` are the number of each card's name and the names; `pin` is ringed.
    """
    codes, names = clusters
    data = {"chart": chart, "cluster": codes.tolist(), "names": list(names), "pin": pin, **cards}
    return _gestures(
        key="gestures",
        data=data,
        on_row_change=lambda: None,
        on_cluster_change=lambda: None,
        on_view_change=lambda: None,
    )


@st.cache_resource(show_spinner=False, max_entries=16, hash_funcs={np.ndarray: np.ndarray.tobytes})
def cards(
    version: str, rows: NDArray[np.integer], _positions: NDArray[np.integer], _facts: Sequence[str]
) -> dict[str, list[Any]]:
    """`rows, prompt, adds, loses, fact` of some pairs of the map; cached by version and rows.

    `_positions` (row,) are those of the pairs in their file, −1 where a pair is gone.
    """
    there = _positions >= 0
    texts = cache.pairs(cache.project().pairs).rows(_positions[there])
    most = [min(length, CARDS // (3 * max(len(rows), 1))) for length in CARD]
    sides = [(row.chosen, row.rejected) for row in texts.itertuples()]
    return {
        "rows": rows[there].tolist(),
        "prompt": [text.short(prompt, most[0]) for prompt in texts["prompt"]],
        "adds": [added(rejected, chosen, most[1]) for chosen, rejected in sides],
        "loses": [added(chosen, rejected, most[1]) for chosen, rejected in sides],
        "fact": [fact for fact, kept in zip(_facts, there, strict=True) if kept],
    }


def added(before: str, after: str, most: int) -> str:
    """The words at the beginning of a text that another one lacks, at most so many letters.

    A set of words in place of a diff, which takes a hundred times as long.
    """
    lacking = {word.strip(EDGES) for word in before[:READ].lower().split()} | {""}
    parts = after[:READ].split()
    kept = [part for part in parts if part.lower().strip(EDGES) not in lacking]
    return text.short(" ".join(kept), most)
