// SPDX-License-Identifier: Apache-2.0

/// The page around a flame graph's data: one file, no network. Its script draws on a canvas, so that a
/// hundred thousand frames can be moved.
enum FlamegraphPage {
  /// Before the data, which follows as JSON.
  static let head = #"""
    <!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta http-equiv="Content-Security-Policy"
      content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
    <title>nopscope</title>
    <style>
    :root { color-scheme: light dark; --back: #fff; --text: #1b1b1b; --dim: #666; --line: #ddd; }
    @media (prefers-color-scheme: dark) {
      :root { --back: #16181c; --text: #e6e6e6; --dim: #9a9a9a; --line: #333; }
    }
    body { margin: 0; background: var(--back); color: var(--text);
      font: 14px system-ui, sans-serif; }
    header { position: sticky; top: 0; background: var(--back); padding: 8px 12px;
      border-bottom: 1px solid var(--line); display: flex; gap: 12px; flex-wrap: wrap;
      align-items: baseline; z-index: 1; }
    h1 { font-size: 15px; margin: 0; overflow-wrap: anywhere; }
    #sum, #found { color: var(--dim); }
    header form { margin-left: auto; display: flex; gap: 8px; align-items: baseline; }
    input, button { font: inherit; }
    canvas { display: block; outline-offset: -2px; }
    #tip { position: fixed; pointer-events: none; background: var(--back); padding: 6px 9px;
      border: 1px solid var(--dim); border-radius: 4px; max-width: 70vw; display: none;
      box-shadow: 0 2px 8px #0004; overflow-wrap: anywhere; z-index: 2; }
    #tip b { display: block; }
    #now { padding: 6px 12px; color: var(--dim); min-height: 1.3em; overflow-wrap: anywhere; }
    kbd { border: 1px solid var(--line); border-radius: 3px; padding: 0 4px; }
    footer { padding: 4px 12px 12px; color: var(--dim); }
    </style>
    </head>
    <body>
    <header>
    <h1 id="title"></h1><span id="sum"></span>
    <form id="form"><span id="found" role="status"></span>
    <label>Search <input id="search" type="search" placeholder="name or /regex/"></label>
    <button type="button" id="reset">Whole</button></form>
    </header>
    <div id="now" aria-live="polite"></div>
    <canvas id="graph" tabindex="0" role="img" aria-label="Flame graph"></canvas>
    <div id="tip"></div>
    <footer><kbd>click</kbd> or <kbd>Enter</kbd> zooms, <kbd>Esc</kbd> goes back,
    arrows move, <kbd>/</kbd> searches. <span id="left"></span></footer>
    <script type="application/json" id="data">
    """#

  /// Behind the data.
  static let tail = #"""
    </script>
    <script>
    "use strict";
    const data = JSON.parse(document.getElementById("data").textContent);
    const count = data.nodes.length / 4, total = new Float64Array(count);
    const parent = new Int32Array(count), depth = new Int32Array(count);
    const end = new Int32Array(count), left = new Float64Array(count);
    const own = i => data.nodes[4 * i + 3], calls = i => data.nodes[4 * i + 2];
    const name = i => i ? data.functions[data.nodes[4 * i]][0] : "all";
    const module = i => i ? data.functions[data.nodes[4 * i]][1] : "";
    const source = i => i ? data.functions[data.nodes[4 * i]][2] : "";
    let deepest = 0;
    {
      const path = [];
      for (let i = 0; i < count; i++) {
        depth[i] = data.nodes[4 * i + 1];
        deepest = Math.max(deepest, depth[i]);
        parent[i] = depth[i] > 0 ? path[depth[i] - 1] : -1;
        path[depth[i]] = i;
        total[i] = own(i);
        end[i] = i + 1;
      }
      for (let i = count - 1; i > 0; i--) {
        total[parent[i]] += total[i];
        end[parent[i]] = Math.max(end[parent[i]], end[i]);
      }
      const used = new Float64Array(count);
      for (let i = 1; i < count; i++) {
        left[i] = left[parent[i]] + used[parent[i]];
        used[parent[i]] += total[i];
      }
    }
    const by = id => document.getElementById(id);
    const canvas = by("graph"), pen = canvas.getContext("2d"), row = 19;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    let zoom = 0, focus = 0, hover = -1, wanted = null, width = 0;

    const counted = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
    function amount(value) {
      if (!data.hasTimes) return counted(value, "call");
      for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["us", 1e3]])
        if (value >= size) return (value / size).toFixed(3) + " " + unit;
      return value + " ns";
    }
    const part = value => (total[0] > 0 ? 100 * value / total[0] : 0).toFixed(2) + "%";
    function hash(text) {
      let h = 2166136261;
      for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16777619);
      return (h >>> 0) / 4294967296;
    }
    const colours = new Map();
    function colour(i) {
      if (!i) return dark.matches ? "#333941" : "#e8e8e8";
      const key = data.nodes[4 * i];
      if (!colours.has(key)) {
        const hue = 360 * hash(module(i)), light = (dark.matches ? 34 : 72) + 8 * hash(name(i));
        colours.set(key, `hsl(${hue} 55% ${light}%)`);
      }
      return colours.get(key);
    }
    // Ancestors of the zoomed frame take the whole width.
    function place(i) {
      if (i <= zoom && end[i] > zoom) return [0, width];
      if (i < zoom || i >= end[zoom]) return [0, 0];
      const scale = total[zoom] > 0 ? width / total[zoom] : 0;
      return [(left[i] - left[zoom]) * scale, total[i] * scale];
    }
    function draw() {
      const ratio = devicePixelRatio || 1;
      width = document.documentElement.clientWidth;
      const height = (deepest + 1) * row + 1;
      canvas.style.width = width + "px";
      canvas.style.height = height + "px";
      canvas.width = Math.round(width * ratio);
      // Canvases have a greatest height.
      canvas.height = Math.min(32000, Math.round(height * ratio));
      pen.setTransform(ratio, 0, 0, canvas.height / height, 0, 0);
      pen.font = "12px system-ui, sans-serif";
      pen.textBaseline = "middle";
      for (let i = 0; i < count;) {
        const [x, w] = place(i);
        if (w < 0.3) { i = i <= zoom && end[i] > zoom ? i + 1 : end[i]; continue; }
        const y = depth[i] * row;
        const hit = wanted && i && wanted(name(i));
        pen.globalAlpha = i < zoom ? 0.55 : wanted && !hit ? 0.35 : 1;
        pen.fillStyle = hit ? "#ffa500" : colour(i);
        pen.fillRect(x, y, Math.max(w - 0.5, 0.3), row - 1);
        if (i === focus || i === hover) {
          pen.strokeStyle = dark.matches ? "#fff" : "#000";
          pen.lineWidth = i === focus ? 2 : 1;
          pen.strokeRect(x + 1, y + 1, Math.max(w - 2.5, 1), row - 3);
        }
        if (w > 24) {
          pen.globalAlpha = Math.max(pen.globalAlpha, 0.8);
          pen.fillStyle = hit ? "#111" : dark.matches ? "#f2f2f2" : "#111";
          pen.fillText(fitted(name(i), w - 8), x + 4, y + row / 2);
        }
        i++;
      }
      pen.globalAlpha = 1;
    }
    function fitted(text, w) {
      const most = Math.floor(w / 6.2);
      if (text.length <= most) return text;
      return most > 2 ? text.slice(0, most - 1) + "\u2026" : "";
    }
    function at(event) {
      const box = canvas.getBoundingClientRect(), x = event.clientX - box.left;
      const level = Math.floor((event.clientY - box.top) / row);
      for (let i = 0; i < count;) {
        const [from, w] = place(i);
        if (w === 0 && !(i <= zoom && end[i] > zoom)) { i = end[i]; continue; }
        if (x < from || x >= from + w) { i = end[i]; continue; }
        if (depth[i] === level) return i;
        i++;
      }
      return -1;
    }
    function lines(i) {
      const text = [`${amount(total[i])} in all (${part(total[i])})`];
      text.push(`${amount(own(i))} itself (${part(own(i))})`);
      if (i && data.hasTimes) text.push(counted(calls(i), "call"));
      if (i && module(i)) text.push(module(i));
      if (i && source(i)) text.push(source(i));
      return text;
    }
    function say() { by("now").textContent = name(focus) + " \u2013 " + lines(focus).join(", "); }
    function select(i) {
      if (i < 0 || i >= count) return;
      focus = i;
      say();
      draw();
      const box = canvas.getBoundingClientRect(), y = box.top + depth[i] * row;
      if (y < 90 || y > innerHeight - row) scrollBy(0, y - innerHeight / 2);
    }
    // The address says what is shown, so that it can be handed on.
    function note() {
      const state = new URLSearchParams();
      if (by("search").value) state.set("search", by("search").value);
      if (zoom) state.set("frame", zoom);
      try { history.replaceState(null, "", "#" + state); } catch { /* not everywhere */ }
    }
    function zoomTo(i) { zoom = i > 0 && i < count ? i : 0; select(zoom); note(); }
    function beside(i, step) {
      for (let j = i + step; j >= 0 && j < count; j += step)
        if (parent[j] === parent[i]) return j;
        else if (j <= parent[i] || (step > 0 && j >= end[parent[i]])) break;
      return i;
    }
    function search(text) {
      wanted = null;
      if (text) {
        let match = text.match(/^\/(.*)\/$/);
        try { match = match && new RegExp(match[1]); } catch { match = null; }
        const low = text.toLowerCase();
        wanted = match ? n => match.test(n) : n => n.toLowerCase().includes(low);
      }
      let sum = 0, hits = 0;
      for (let i = 1; wanted && i < count;) {
        if (wanted(name(i))) { sum += total[i]; hits++; i = end[i]; } else i++;
      }
      by("found").textContent = wanted ? `${part(sum)} in ${counted(hits, "frame")}` : "";
      draw();
    }
    canvas.addEventListener("click", e => { const i = at(e); if (i >= 0) zoomTo(i); });
    canvas.addEventListener("mousemove", e => {
      const i = at(e), tip = by("tip");
      if (i !== hover) { hover = i; draw(); }
      tip.style.display = i < 0 ? "none" : "block";
      if (i < 0) return;
      tip.replaceChildren();
      const head = document.createElement("b");
      head.textContent = name(i);
      tip.append(head);
      for (const line of lines(i)) {
        tip.append(line, document.createElement("br"));
      }
      const w = tip.offsetWidth, h = tip.offsetHeight;
      tip.style.left = Math.max(4, Math.min(e.clientX + 14, innerWidth - w - 8)) + "px";
      tip.style.top = (e.clientY + 18 + h > innerHeight ? e.clientY - h - 10 : e.clientY + 18) + "px";
    });
    canvas.addEventListener("mouseleave", () => {
      hover = -1;
      by("tip").style.display = "none";
      draw();
    });
    addEventListener("keydown", e => {
      if (e.target === by("search")) {
        if (e.key === "Escape") { e.target.value = ""; search(""); canvas.focus(); }
        return;
      }
      if (e.ctrlKey || e.metaKey || e.altKey) return;
      const firstChild = focus + 1 < end[focus] ? focus + 1 : focus;
      switch (e.key) {
        case "/": by("search").focus(); break;
        case "Escape": case "Backspace": zoomTo(zoom ? parent[zoom] : 0); break;
        case "Enter": zoomTo(focus); break;
        case "ArrowDown": select(firstChild); break;
        case "ArrowUp": select(Math.max(0, parent[focus])); break;
        case "ArrowRight": select(beside(focus, 1)); break;
        case "ArrowLeft": select(beside(focus, -1)); break;
        default: return;
      }
      e.preventDefault();
    });
    by("search").addEventListener("input", e => { search(e.target.value.trim()); note(); });
    by("form").addEventListener("submit", e => e.preventDefault());
    by("reset").addEventListener("click", () => zoomTo(0));
    addEventListener("resize", draw);
    dark.addEventListener("change", () => { colours.clear(); draw(); });
    document.title = data.title;
    by("title").textContent = data.title;
    by("sum").textContent = (data.hasTimes ? "time: " : "") + amount(total[0]);
    by("left").textContent = data.left
      ? `${counted(data.left, "frame")} below a millionth of all: not here.` : "";
    const state = new URLSearchParams(location.hash.slice(1));
    by("search").value = state.get("search") || "";
    search(by("search").value);
    zoomTo(Number(state.get("frame")));
    </script>
    </body>
    </html>

    """#
}
