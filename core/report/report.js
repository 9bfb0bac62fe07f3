
"use strict";
(() => {
  const cards = [...document.querySelectorAll(".card")], root = document.documentElement;
  let now = 0;
  const show = (place) => {
    now = Math.max(0, Math.min(cards.length - 1, place));
    cards.forEach((card, i) => card.classList.toggle("now", i === now));
    document.getElementById("place").textContent = `${now + 1} of ${cards.length}`;
    dispatchEvent(new Event("resize"));
  };
  const slides = (on) => {
    document.body.classList.toggle("slides", on);
    document.getElementById("steps").hidden = !on;
    if (on) { root.requestFullscreen?.().catch(() => {}); show(now); }
    else { if (document.fullscreenElement) document.exitFullscreen(); dispatchEvent(new Event("resize")); }
  };
  const toggle = () => slides(!document.body.classList.contains("slides"));
  const dark = () => { root.classList.toggle("dark"); dispatchEvent(new Event("resize")); };
  const act = { present: toggle, dark, back: () => show(now - 1), on: () => show(now + 1) };
  for (const [id, run] of Object.entries(act)) document.getElementById(id).addEventListener("click", run);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const inside = document.body.classList.contains("slides"), key = event.key;
    if (key === "s" || key === "S") toggle();
    else if (key === "d" || key === "D") dark();
    else if (!inside) return;
    else if (["ArrowRight", "ArrowDown", "PageDown"].includes(key)) { event.preventDefault(); show(now + 1); }
    else if (["ArrowLeft", "ArrowUp", "PageUp"].includes(key)) { event.preventDefault(); show(now - 1); }
    else if (key === "Escape") slides(false);
  });

  const canvas = document.getElementById("map");
  if (!canvas) return;
  const points = JSON.parse(document.getElementById("points").textContent), tip = document.getElementById("tip");
  const palette = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#9A8B1F", "#8C6BB1"];
  const numbers = Object.keys(points.names).map(Number);
  const color = (cluster) => cluster < 0 || !numbers.includes(cluster) ? "#9AA3AD"
    : palette[numbers.indexOf(cluster) % palette.length];
  const draw = canvas.getContext("2d");
  let zoom = 1, left = 0, top_ = 0, chosen = null, drag = null;
  const sx = (i) => (points.x[i] / 1000 - left) * zoom * (canvas.clientWidth - 20) + 10;
  const sy = (i) => (1 - points.y[i] / 1000 - top_) * zoom * (canvas.clientHeight - 20) + 10;
  const paint = () => {
    const scale = devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * scale; canvas.height = canvas.clientHeight * scale;
    draw.scale(scale, scale);
    const sums = {};
    draw.fillStyle = getComputedStyle(root).getPropertyValue("--ink");
    for (const i of points.e) draw.fillRect(sx(i) - 4, sy(i) - 4, 8, 8);  // outlines
    for (let i = 0; i < points.x.length; i++) {
      const cluster = points.c[i], x = sx(i), y = sy(i);
      draw.globalAlpha = chosen === null || chosen === cluster ? 0.75 : 0.08;
      draw.fillStyle = color(cluster);
      draw.fillRect(x - 2, y - 2, 4, 4);
      if (cluster >= 0) { const s = sums[cluster] ??= [0, 0, 0]; s[0] += x; s[1] += y; s[2]++; }
    }
    draw.globalAlpha = 1; draw.font = "13px sans-serif"; draw.textAlign = "center"; draw.lineWidth = 4;
    const style = getComputedStyle(root);
    const placed = [];
    for (const cluster of numbers) {
      const s = sums[cluster]; if (!s) continue;
      const x = s[0] / s[2], y = s[1] / s[2];
      if (placed.some(([a, b]) => Math.abs(a - x) < 220 && Math.abs(b - y) < 16)) continue;
      placed.push([x, y]);
      const name = points.names[cluster], short = name.length > 34 ? name.slice(0, 33) + "…" : name;
      draw.strokeStyle = style.getPropertyValue("--paper"); draw.fillStyle = style.getPropertyValue("--ink");
      draw.strokeText(short, x, y); draw.fillText(short, x, y);
    }
  };
  const nearest = (x, y) => {
    let best = -1, least = 100;
    for (let i = 0; i < points.x.length; i++) {
      const d = (sx(i) - x) ** 2 + (sy(i) - y) ** 2;
      if (d < least) { least = d; best = i; }
    }
    return best;
  };
  const by = (factor) => {
    const next = Math.max(1, Math.min(40, zoom * factor));
    left += (1 / zoom - 1 / next) / 2; top_ += (1 / zoom - 1 / next) / 2; zoom = next;
    if (zoom === 1) left = top_ = 0;
    paint();
  };
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    if (drag) {
      left -= (event.clientX - drag[0]) / zoom / box.width; top_ -= (event.clientY - drag[1]) / zoom / box.height;
      drag = [event.clientX, event.clientY]; tip.style.display = "none"; paint(); return;
    }
    const i = nearest(event.clientX - box.left, event.clientY - box.top);
    tip.style.display = i < 0 ? "none" : "block";
    if (i < 0) return;
    const [prompt, chosenText, rejected] = points.t[i], name = points.names[points.c[i]] ?? "in no cluster";
    tip.textContent = `${name}\n\nprompt: ${prompt}\nchosen: ${chosenText}\nrejected: ${rejected}`;
    tip.style.left = Math.min(event.clientX + 14, innerWidth - 430) + "px";
    tip.style.top = Math.min(event.clientY + 14, innerHeight - 170) + "px";
  });
  canvas.addEventListener("pointerdown", (event) => {
    drag = [event.clientX, event.clientY]; canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointerup", () => { drag = null; });
  canvas.addEventListener("pointerleave", () => { tip.style.display = "none"; });
  document.getElementById("closer").addEventListener("click", () => by(1.6));
  document.getElementById("wider").addEventListener("click", () => by(1 / 1.6));
  const legend = document.getElementById("legend");
  for (const cluster of numbers) {
    const button = document.createElement("button"), swatch = document.createElement("span");
    swatch.className = "swatch"; swatch.style.background = color(cluster);
    button.append(swatch, points.names[cluster]);
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      chosen = chosen === cluster ? null : cluster;
      for (const other of legend.children) other.setAttribute("aria-pressed", String(other === button && chosen !== null));
      paint();
    });
    legend.append(button);
  }
  addEventListener("resize", paint);
  addEventListener("beforeprint", paint);
  paint();
})();
