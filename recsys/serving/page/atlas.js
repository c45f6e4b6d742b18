/* The map: every item a dot, near what it resembles; zoom, move, walk with the arrow keys, listen. */
const DARK = matchMedia("(prefers-color-scheme: dark)");
/* Drawing it takes the server some seconds the first time. */
async function chartWhenDrawn() {
  for (;;) {
    try { return await ask("/v1/map"); }
    catch (problem) { if (problem.status !== 503 || state.view !== "map") throw problem; }
    if (!$("drawing")) {
      $("view").className = "";
      $("view").replaceChildren(el("section", {className: "notice", id: "drawing"}, el("h2", {}, "The map is being drawn"),
        el("p", {}, "It is laid out once for each version, from what all models know of every piece."), el("progress", {"aria-label": "Drawing"})));
      say("The map is being drawn.");
    }
    await new Promise(resolve => setTimeout(resolve, 1000));
  }
}
async function atlas() {
  const chart = await chartWhenDrawn();
  const canvas = el("canvas", {tabIndex: 0, role: "application", "aria-label": "Map of the catalogue: arrow keys walk, plus and minus zoom, Enter plays"});
  const tip = el("div", {className: "tip", hidden: true, "aria-hidden": "true"});
  const panel = el("div", {className: "chosen", "aria-live": "polite"}, el("p", {className: "by"}, "Nothing chosen yet."));
  const view = {x: 0, y: 0, zoom: 1}, hue = scene => Math.round(scene * 360 / chart.scenes.length);
  let at = null;
  const side = () => Math.min(canvas.clientWidth, canvas.clientHeight) / 2.15 * view.zoom;
  const place = (one, scale = side()) => [canvas.clientWidth / 2 + (one.x - view.x) * scale, canvas.clientHeight / 2 + (one.y - view.y) * scale];
  function draw() {
    const ratio = devicePixelRatio || 1, style = getComputedStyle(canvas), scale = side();
    const ink = chart.scenes.map((_, scene) => `hsl(${hue(scene)} 65% ${style.getPropertyValue("--dot")})`);
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    const pen = canvas.getContext("2d"), radius = Math.min(9, 2.4 * Math.sqrt(view.zoom));
    const dot = (one, r) => { const [x, y] = place(one, scale); pen.fillStyle = ink[one.scene]; pen.beginPath(); pen.arc(x, y, r, 0, 7); pen.fill(); };
    pen.scale(ratio, ratio);
    for (const one of chart.items) dot(one, radius);
    if (at) { dot(at, radius + 4); pen.lineWidth = 2.5; pen.strokeStyle = style.color; pen.stroke(); }  // over all others
  }
  function zoom(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
    const next = Math.min(40, Math.max(1, view.zoom * factor)), before = side();
    view.zoom = next;
    view.x += (x - canvas.clientWidth / 2) * (1 / before - 1 / side());
    view.y += (y - canvas.clientHeight / 2) * (1 / before - 1 / side());
    if (next === 1) view.x = view.y = 0;
    canvas.dataset.zoom = next.toFixed(2);
    tip.hidden = true;
    draw();
  }
  async function choose(one) {
    at = one;
    const [x, y] = place(one);
    if (x < 0 || y < 0 || x > canvas.clientWidth || y > canvas.clientHeight) Object.assign(view, {x: one.x, y: one.y});
    draw();
    const about = el("section", {className: "notice"}, el("h2", {}, one.title), el("p", {}, [one.artist, chart.scenes[one.scene]].filter(Boolean).join(" · ")),
      el("div", {className: "chips"}, playButton(one.item_id, one.title, one.artist, true), button("More about it", () => show(one.item_id))));
    panel.replaceChildren(about);
    try {
      const found = await ask(item(one.item_id) + "/similar?k=6");
      if (at === one) about.append(el("h3", {}, "Close to it"), near(found.similar));
    } catch (problem) { told(problem); }
  }
  function nearest(x, y, within) {
    let best = null, least = within;
    const scale = side();
    for (const one of chart.items) {
      const [px, py] = place(one, scale), far = Math.hypot(px - x, py - y);
      if (far < least) { best = one; least = far; }
    }
    return best;
  }
  function walk(dx, dy) {
    const from = at ?? chart.items[0];
    if (!at) { if (from) choose(from); return; }
    let best = null, least = Infinity;
    for (const one of chart.items) {
      const ax = one.x - from.x, ay = one.y - from.y, ahead = ax * dx + ay * dy;
      const cost = Math.hypot(ax, ay) + 2 * Math.abs(ax * dy - ay * dx);
      if (ahead > 1e-6 && cost < least) { best = one; least = cost; }
    }
    if (best) choose(best);
  }
  const keys = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  canvas.addEventListener("keydown", event => {
    if (event.key in keys) walk(...keys[event.key]);
    else if (event.key === "+" || event.key === "=") zoom(1.4);
    else if (event.key === "-") zoom(1 / 1.4);
    else if (event.key === "Enter" && at) play(at.item_id, at.title, at.artist);
    else return;
    event.preventDefault();
  });
  canvas.addEventListener("wheel", event => {
    if (event.deltaY > 0 && view.zoom === 1) return;  // there the wheel moves the page
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.offsetX, event.offsetY);
  }, {passive: false});

  const held = new Map();  // fingers: one moves the map, two zoom it
  let moved = false;
  canvas.addEventListener("pointerdown", event => {
    held.set(event.pointerId, [event.offsetX, event.offsetY]);
    moved = held.size > 1;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", event => {
    const before = held.get(event.pointerId), [x, y] = [event.offsetX, event.offsetY];
    if (!before) { hover(x, y); return; }
    if (!moved && Math.hypot(x - before[0], y - before[1]) < 4) return;
    moved = true;
    held.set(event.pointerId, [x, y]);
    const other = [...held].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const far = point => Math.max(1, Math.hypot(point[0] - other[0], point[1] - other[1]));
      zoom(far([x, y]) / far(before), (x + other[0]) / 2, (y + other[1]) / 2);
    } else {
      view.x -= (x - before[0]) / side();
      view.y -= (y - before[1]) / side();
      draw();
    }
  });
  const release = event => {
    const click = event.type === "pointerup" && held.size === 1 && !moved;
    held.delete(event.pointerId);
    const one = click && nearest(event.offsetX, event.offsetY, 18);
    if (one) { choose(one); play(one.item_id, one.title, one.artist); }
  };
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, release);
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  function hover(x, y) {
    const one = nearest(x, y, 14);
    tip.hidden = !one;
    canvas.classList.toggle("over", Boolean(one));
    if (!one) return;
    tip.replaceChildren(el("b", {}, one.title), one.artist ? ` ${one.artist}` : "");
    const [px, py] = place(one);
    tip.style.left = `${Math.min(Math.max(px, tip.offsetWidth / 2 + 8), canvas.clientWidth - tip.offsetWidth / 2 - 8)}px`;
    tip.style.top = `${py}px`;
    tip.classList.toggle("below", py < 56);
  }
  new ResizeObserver(draw).observe(canvas);
  DARK.onchange = draw;
  const legend = el("ul", {className: "scenes", "aria-label": "Scenes"}, ...chart.scenes.map((name, scene) => {
    const dot = el("span", {className: "swatch"});
    dot.style.setProperty("--scene", hue(scene));
    return el("li", {}, dot, name);
  }));
  document.documentElement.style.setProperty("--hue", 210);
  return [el("h1", {className: "slim"}, "The map"),
    el("p", {className: "lede"}, `${chart.items.length.toLocaleString()} pieces; what the models find alike lies together. Choose one to hear it and see its neighbours.`),
    el("div", {className: "atlas"},
      el("div", {className: "chart"}, canvas, tip, el("div", {className: "zoom"},
        button(sign("plus"), () => zoom(1.4), "deed", {"aria-label": "Zoom in"}), button(sign("minus"), () => zoom(1 / 1.4), "deed", {"aria-label": "Zoom out"}))),
      el("div", {className: "beside"}, panel, el("h2", {className: "unseen"}, "Scenes"), legend))];
}
