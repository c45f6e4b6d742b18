/* The map: every item a dot, near what it resembles; zoom, move, walk with the arrow keys, listen. */
const hueOfScene = (scene, n) => `hsl(${Math.round(scene * 360 / n)} 65% ${matchMedia("(prefers-color-scheme: dark)").matches ? 66 : 42}%)`;
/* Drawing it takes the server some seconds the first time. */
async function chartWhenDrawn() {
  for (;;) {
    try { return await ask("/v1/map"); }
    catch (problem) { if (problem.status !== 503 || state.view !== "map") throw problem; }
    $("said").textContent = "The map is being drawn.";
    await new Promise(resolve => setTimeout(resolve, 1000));
  }
}
async function atlas() {
  const chart = await chartWhenDrawn();
  const canvas = el("canvas", {tabIndex: 0, role: "application", "aria-label": "Map of the catalogue: arrow keys walk, plus and minus zoom, Enter plays"});
  const panel = el("div", {"aria-live": "polite"});
  const n = chart.scenes.length, view = {x: 0, y: 0, zoom: 1};
  let at = null;
  const place = one => {
    const side = Math.min(canvas.clientWidth, canvas.clientHeight) / 2.15 * view.zoom;
    return [canvas.clientWidth / 2 + (one.x - view.x) * side, canvas.clientHeight / 2 + (one.y - view.y) * side, side];
  };
  function draw() {
    const ratio = devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    const pen = canvas.getContext("2d"), radius = Math.min(9, 2.4 * Math.sqrt(view.zoom));
    pen.scale(ratio, ratio);
    for (const one of chart.items) {
      const [x, y] = place(one);
      if (x < -9 || y < -9 || x > canvas.clientWidth + 9 || y > canvas.clientHeight + 9) continue;
      pen.fillStyle = hueOfScene(one.scene, n);
      pen.beginPath(); pen.arc(x, y, one === at ? radius + 4 : radius, 0, 7); pen.fill();
      if (one === at) { pen.lineWidth = 2.5; pen.strokeStyle = getComputedStyle(canvas).color; pen.stroke(); }
    }
  }
  function zoom(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
    const side = place({x: 0, y: 0})[2], next = Math.min(40, Math.max(1, view.zoom * factor));
    const grown = side * next / view.zoom;
    view.x += (x - canvas.clientWidth / 2) * (1 / side - 1 / grown);
    view.y += (y - canvas.clientHeight / 2) * (1 / side - 1 / grown);
    view.zoom = next;
    if (next === 1) view.x = view.y = 0;
    canvas.dataset.zoom = next.toFixed(2);
    draw();
  }
  async function choose(one) {
    at = one;
    draw();
    panel.replaceChildren(el("section", {className: "notice"}, el("h2", {}, one.title), el("p", {}, [one.artist, chart.scenes[one.scene]].filter(Boolean).join(" · ")),
      el("div", {className: "chips"}, button("▶ Play", () => play(one.item_id, one.title, one.artist)), button("More about it", () => show(one.item_id)))));
    try {
      const found = await ask(item(one.item_id) + "/similar?k=6");
      if (at === one) panel.firstChild.append(el("h3", {}, "Close to it"), near(found.similar));
    } catch (problem) { told(problem); }
  }
  function nearest(x, y, within) {
    let best = null, least = within;
    for (const one of chart.items) {
      const [px, py] = place(one), far = Math.hypot(px - x, py - y);
      if (far < least) { best = one; least = far; }
    }
    return best;
  }
  function walk(dx, dy) {
    const from = at ?? chart.items[0];
    if (!at) { choose(from); return; }
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
  canvas.addEventListener("wheel", event => { event.preventDefault(); zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.offsetX, event.offsetY); }, {passive: false});
  let held = null;
  canvas.addEventListener("pointerdown", event => { held = {x: event.offsetX, y: event.offsetY, moved: false}; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", event => {
    if (!held) return;
    const side = place({x: 0, y: 0})[2], dx = event.offsetX - held.x, dy = event.offsetY - held.y;
    if (!held.moved && Math.hypot(dx, dy) < 4) return;
    view.x -= dx / side; view.y -= dy / side;
    held = {x: event.offsetX, y: event.offsetY, moved: true};
    draw();
  });
  canvas.addEventListener("pointerup", event => {
    const click = held && !held.moved;
    held = null;
    const one = click && nearest(event.offsetX, event.offsetY, 18);
    if (one) { choose(one); play(one.item_id, one.title, one.artist); }
  });
  new ResizeObserver(draw).observe(canvas);
  const legend = el("ul", {className: "scenes", "aria-label": "Scenes"}, ...chart.scenes.map((name, scene) => {
    const dot = el("span", {className: "swatch"});
    dot.style.background = hueOfScene(scene, n);
    return el("li", {}, dot, name);
  }));
  document.documentElement.style.setProperty("--hue", 210);
  return [el("h1", {}, "The map"), el("p", {className: "lede"}, `${chart.items.length.toLocaleString()} pieces; what the models find alike lies together. Click one to hear it and see its neighbours.`),
    el("div", {className: "atlas"}, canvas, el("div", {className: "zoom"}, button("+", () => zoom(1.4), "deed", {"aria-label": "Zoom in"}), button("−", () => zoom(1 / 1.4), "deed", {"aria-label": "Zoom out"}))),
    legend, panel];
}
