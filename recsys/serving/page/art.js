/* Elements, signs, and cover art. */
const $ = id => document.getElementById(id);

/* Elements are made, never parsed: no title or name can become markup. */
function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value; else node.setAttribute(name, value);
  }
  node.append(...children.filter(child => child !== null && child !== undefined));
  return node;
}

function svg(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/* Signs are drawn, because a font may show them as coloured emoji. */
const SIGNS = {
  play: "M8 5v14l11-7z",
  pause: "M7 5h4v14H7zM13 5h4v14h-4z",
  heart: "M12 20.5S3.5 15.4 3.5 9.3A4.8 4.8 0 0 1 12 6.6a4.8 4.8 0 0 1 8.5 2.7c0 6.1-8.5 11.2-8.5 11.2z",
  cross: "M6 6l12 12M18 6L6 18",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  shuffle: "M3 7h4l9 10h5M3 17h4l2.5-2.8M13.5 9.8 16 7h5M18.5 4.5 21 7l-2.5 2.5M18.5 14.5 21 17l-2.5 2.5",
};
function sign(name) {
  const picture = svg("svg", {viewBox: "0 0 24 24", "aria-hidden": "true", class: `sign ${name}`});
  picture.append(svg("path", {d: SIGNS[name]}));
  return picture;
}

/* ---------- cover art: a picture that only depends on who and what ---------- */
function randomFrom(text) {  // xmur3 seeds mulberry32
  let h = 1779033703 ^ text.length;
  for (let i = 0; i < text.length; i++) {
    h = Math.imul(h ^ text.charCodeAt(i), 3432918353);
    h = (h << 13) | (h >>> 19);
  }
  h = Math.imul(h ^ (h >>> 16), 2246822507);
  return () => {
    h = (h + 0x6D2B79F5) | 0;
    let t = Math.imul(h ^ (h >>> 15), 1 | h);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
const hueOf = text => Math.floor(randomFrom("hue " + text)() * 360);
const MOTIFS = [
  function hills(add, r, ink) {
    add("circle", {cx: 25 + r() * 50, cy: 22 + r() * 20, r: 9 + r() * 10, fill: ink[3]});
    for (let layer = 0; layer < 4; layer++) {
      const y = 44 + layer * 14, a = 4 + r() * 8, f = 1 + r() * 1.6, p = r() * 6.3;
      let d = "M0 101";
      for (let x = 0; x <= 100; x += 5) d += `L${x} ${(y + a * Math.sin(p + f * x / 16)).toFixed(1)}`;
      add("path", {d: d + "L100 101Z", fill: ink[layer % 3], opacity: .62 + layer * .12});
    }
  },
  function rings(add, r, ink) {
    const cx = 20 + r() * 60, cy = 20 + r() * 60;
    for (let i = 9; i > 0; i--) add("circle", {cx, cy, r: i * 9.5 + r() * 2, fill: ink[i % 4]});
    add("circle", {cx, cy, r: 3.5, fill: ink[3]});
  },
  function quarters(add, r, ink) {
    const n = 4, s = 100 / n;
    for (let i = 0; i < n * n; i++) {
      const x = (i % n) * s, y = Math.floor(i / n) * s, turn = Math.floor(r() * 4) * 90;
      add("rect", {x, y, width: s + .4, height: s + .4, fill: ink[Math.floor(r() * 2)]});
      if (r() < .85) add("path", {d: `M${x} ${y}h${s}a${s} ${s} 0 0 1 -${s} ${s}z`, fill: ink[2 + Math.floor(r() * 2)],
        transform: `rotate(${turn} ${x + s / 2} ${y + s / 2})`});
    }
  },
  function beams(add, r, ink) {
    const left = r() < .5, cx = left ? -6 : 106, cy = 104, n = 9 + Math.floor(r() * 5);
    for (let i = 0; i < n; i++) {
      const from = (i / n) * Math.PI / 2, to = ((i + .62) / n) * Math.PI / 2, s = left ? 1 : -1;
      const at = t => `${(cx + s * 160 * Math.cos(t)).toFixed(1)} ${(cy - 160 * Math.sin(t)).toFixed(1)}`;
      add("path", {d: `M${cx} ${cy}L${at(from)}L${at(to)}Z`, fill: ink[i % 4]});
    }
    add("circle", {cx, cy, r: 24 + r() * 12, fill: ink[3]});
  },
  function blooms(add, r, ink) {
    for (let i = 0; i < 7; i++) add("circle", {cx: r() * 100, cy: r() * 100, r: 14 + r() * 26, fill: ink[i % 4], opacity: .55});
    add("circle", {cx: 30 + r() * 40, cy: 30 + r() * 40, r: 6 + r() * 5, fill: ink[3]});
  },
  function wave(add, r, ink) {
    const p = r() * 6, f = .25 + r() * .35;
    for (let i = 0; i < 17; i++) {
      const h = 10 + 62 * Math.abs(Math.sin(p + i * f)) * (.55 + .45 * r());
      add("rect", {x: 6 + i * 5.25, y: 50 - h / 2, width: 3.1, height: h, rx: 1.55, fill: ink[i % 5 ? 2 : 3]});
    }
  },
  function orbits(add, r, ink) {
    const cx = 50, cy = 50;
    for (let i = 1; i < 6; i++) {
      const radius = i * 9.2, t = r() * 6.3;
      add("circle", {cx, cy, r: radius, fill: "none", stroke: ink[2], "stroke-width": .9, opacity: .75});
      add("circle", {cx: cx + radius * Math.cos(t), cy: cy + radius * Math.sin(t), r: 1.8 + r() * 4, fill: ink[i % 2 ? 3 : 1]});
    }
    add("circle", {cx, cy, r: 4.4, fill: ink[3]});
  },
];
function cover(seed, family, label) {
  const r = randomFrom(seed), hue = hueOf(family), step = 28 + randomFrom("step " + family)() * 130;
  const ground = `hsl(${hue} 48% 22%)`;
  const ink = [`hsl(${hue} 55% 38%)`, `hsl(${hue + step} 58% 46%)`, `hsl(${hue + 24} 78% 64%)`, `hsl(${hue + step * 1.4} 88% 76%)`];
  const picture = svg("svg", {viewBox: "0 0 100 100", "aria-hidden": "true", preserveAspectRatio: "xMidYMid slice"});
  const add = (tag, attributes) => picture.append(svg(tag, attributes));
  add("rect", {width: 100, height: 100, fill: ground});
  MOTIFS[Math.floor(r() * MOTIFS.length)](add, r, ink);
  if (label) {
    const fade = svg("linearGradient", {id: "fade", x2: 0, y2: 1});
    fade.append(svg("stop", {offset: 0, "stop-color": ground, "stop-opacity": 0}), svg("stop", {offset: .8, "stop-color": ground, "stop-opacity": .92}));
    const text = svg("text", {x: 8, y: 92, fill: "#fff", "font-size": 15, "font-family": "Georgia, serif", "letter-spacing": .4});
    text.textContent = label;
    picture.append(fade, svg("rect", {y: 55, width: 100, height: 45, fill: "url(#fade)"}), text);
  }
  return el("div", {className: "art"}, picture);
}

