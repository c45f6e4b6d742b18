/* A listener: their week, what they should hear right now, what they like and skip, and new ones. */
const state = {id: "", view: "week", weights: {}, history: [], hidden: new Set(), liked: new Set()};
const isPrivate = () => $("private").checked;

function hero(title, kicker, lede, seed, label, tools) {
  return el("section", {className: "hero", "aria-label": "About this list"},
    cover(seed, seed, label),
    el("div", {}, el("p", {className: "kicker"}, kicker), el("h1", {}, title),
      el("p", {className: "lede"}, ...lede), el("div", {className: "tools"}, ...tools)));
}
function row(one, index) {
  const parts = shares(one.signals);
  const title = button(one.title ?? one.item_id, () => show(one.item_id, one), "");
  title.setAttribute("aria-haspopup", "dialog");
  const name = one.title ?? one.item_id;
  const like = button(sign("heart"), () => act(one, "save"), "deed", {"aria-label": `Like ${name}`, "aria-pressed": String(state.liked.has(one.item_id))});
  const skip = button(sign("cross"), () => act(one, "skip"), "deed", {"aria-label": `Skip ${name}`});
  like.dataset.deed = "like";
  skip.dataset.deed = "skip";
  const node = el("li", {className: "row"},
    el("span", {className: "rank", "aria-hidden": "true"}, String(index + 1)),
    cover(one.item_id, one.artist ?? one.item_id),
    el("div", {},
      el("h3", {}, title),
      one.artist ? el("div", {className: "by"}, one.artist) : null,
      one.reasons.length ? el("p", {className: "why"}, one.reasons[0]) : null),
    el("div", {className: "share"}, bar(parts), el("span", {className: "unseen"}, "Signals: "),
      el("span", {}, parts.length ? sentence([parts.reduce((a, b) => b[1] > a[1] ? b : a)]) : ""),
      el("span", {className: "unseen"}, parts.length > 1 ? `; all: ${sentence(parts)}` : "")),
    el("div", {className: "deeds"}, playButton(one.item_id, name, one.artist), like, skip));
  node.dataset.item = one.item_id;
  node.style.animationDelay = Math.min(index, 12) * 30 + "ms";
  return node;
}
const rows = items => el("ol", {className: "list", "aria-label": "Recommendations, best first"}, ...items.map(row));
const nothing = (why = "This listener has heard everything there is") => el("section", {className: "notice"}, el("h2", {}, "Nothing left"), el("p", {}, why + "."));
const listing = items => items.length ? [made(items), rows(items)] : [nothing()];
const shown = items => items.filter(one => !state.hidden.has(one.item_id));

async function week() {
  const list = await ask(user(state.id) + "/discover-weekly");
  const [year, number] = list.week.split("-W");
  const path = format => `${user(state.id)}/discover-weekly?format=${format}`;
  const link = (format, text) => button(text, () => save(path(format), `discover-weekly-${list.week}.${format}`));
  const items = shown(list.items);
  document.documentElement.style.setProperty("--hue", hueOf(list.user_id + list.week));
  return [hero("Discover Weekly", `Week ${Number(number)} of ${year}`,
    ["For ", el("b", {}, state.id), `: ${items.length} pieces never heard before, each with the reason why it is here. It stays as it is until Monday.`],
    list.user_id + list.week, "W" + number, [link("m3u", "Save as M3U"), link("jspf", "Save as JSPF")]),
    ...listing(items)];
}
async function now() {
  const weights = Object.entries(state.weights);
  const list = state.history.length
    ? await tell("/v1/recommendations", {history: state.history, k: 30, ...(weights.length ? {weights: state.weights} : {})})
    : await ask(user(state.id) + "/recommendations?k=30" + (weights.length ? `&weights=${weights.map(pair => pair.join(":")).join(",")}` : ""));
  return shown(list.items);
}
async function mix() {
  const items = await now();
  const place = el("div", {id: "mix"}, ...listing(items));
  document.documentElement.style.setProperty("--hue", hueOf("mix " + state.id));
  return [hero("Right now", "Made this moment",
    ["For ", el("b", {}, state.history.length ? "a private listener" : state.id), ". Move a slider, like or skip something: the list follows at once."],
    "mix " + state.id, "now", []), el("section", {className: "bench"}, sliders(Object.keys(items[0]?.signals ?? SIGNALS), state.weights, rerank)), place];
}
/* A list may change under the hand: the same key of what stands there now has the focus then. */
function keepingPlace(change) {
  const held = document.activeElement, row = held.closest(".row");
  const place = row ? [...row.parentNode.children].indexOf(row) : -1;
  change();
  if (!row || held.isConnected) return;
  const all = document.querySelectorAll(".row");
  const next = all[Math.min(place, all.length - 1)]?.querySelector(held.dataset.deed ? `[data-deed=${held.dataset.deed}]` : "h3 button");
  (next ?? $("main")).focus({preventScroll: true});
}
let reranking;
function rerank() {
  clearTimeout(reranking);
  reranking = setTimeout(async () => {
    try {
      const items = await now();
      keepingPlace(() => $("mix")?.replaceChildren(...listing(items)));
      say(`The list has changed; first is ${items[0]?.title ?? "nothing"}.`);
    } catch (problem) { told(problem); }
  }, 120);
}

/* In a private session the server is told so, and drops it; only this page remembers, until it is left. */
async function act(one, kind) {
  try {
    if (state.history.length) {
      if (kind === "save") state.history.push({item_id: one.item_id, plays: 3});
    } else {
      await tell("/v1/events", {event_id: crypto.randomUUID(), user_id: state.id, item_id: one.item_id, kind, organic: false,
        ...(isPrivate() ? {private: true} : {})});
    }
    (kind === "skip" ? state.hidden : state.liked).add(one.item_id);
    const node = document.querySelector(`[data-item="${CSS.escape(one.item_id)}"]`);
    if (state.view === "now") {
      if (kind === "save") state.hidden.add(one.item_id);
      node?.classList.add("leaving");
      rerank();
    } else if (kind === "skip") keepingPlace(() => node?.remove());
    else node?.querySelector("[data-deed=like]").setAttribute("aria-pressed", "true");
    const deed = kind === "skip" ? "Skipped" : "Liked";
    say(`${deed} ${one.title ?? one.item_id}${isPrivate() ? "; private, so it is kept nowhere" : ""}.`);
  } catch (problem) { told(problem); }
}

/* A new listener: a few artists, and of each what is played most. */
const chosen = new Map();
function making() {
  const field = el("input", {id: "liked", autocomplete: "off", spellcheck: false, placeholder: "Type an artist"});
  const found = el("div", {className: "found", role: "group", "aria-label": "Artists found"});
  const picked = el("div", {className: "found", role: "group", "aria-label": "Artists chosen"});
  const begin = button("Make my list", invent, "chip go");
  const draw = () => {
    picked.replaceChildren(...[...chosen].map(([id, name]) =>
      button([name, sign("cross")], () => { chosen.delete(id); draw(); field.focus(); }, "chip", {"aria-label": `Take ${name} out`})));
    begin.disabled = !chosen.size;
  };
  let turn = 0;
  field.addEventListener("input", async () => {
    const mine = ++turn, text = field.value.trim();
    if (!text) { found.replaceChildren(); return; }
    try {
      const answer = await ask(`/v1/search?k=8&q=${encodeURIComponent(text.slice(0, 200))}`);
      if (mine !== turn) return;
      const fresh = answer.artists.filter(one => !chosen.has(one.artist_id));
      const choose = one => { chosen.set(one.artist_id, one.name); field.value = ""; found.replaceChildren(); draw(); field.focus(); };
      found.replaceChildren(...(fresh.length ? fresh.map(one => button([sign("plus"), one.name], () => choose(one)))
        : [el("p", {className: "by"}, "No other artist of that name.")]));
      say(`${fresh.length} artists found.`);
    } catch (problem) { told(problem); }
  });
  draw();
  return [el("section", {className: "notice making"}, el("h2", {}, "Who do you like?"),
    el("p", {}, "Type a few artists. Your first list is made from what is played most of theirs; in a private session nothing of it is kept."),
    el("label", {htmlFor: "liked"}, "Artists"), field, found, picked, el("div", {}, begin))];
}
async function invent() {
  try {
    const artists = await Promise.all([...chosen.keys()].map(id => ask(artist(id) + "?k=3")));
    const items = artists.flatMap(one => one.items.map(track => track.item_id));
    chosen.clear();
    const id = "guest-" + crypto.randomUUID().slice(0, 8);
    if (isPrivate()) {
      Object.assign(state, {id, history: items.map(item_id => ({item_id, plays: 5})), view: "now"});
      await render();
    } else {
      await tell("/v1/events", items.map(item_id => ({event_id: crypto.randomUUID(), user_id: id, item_id, kind: "stream", value: 5})));
      state.view = "now";
      go(id);
    }
  } catch (problem) { told(problem); }
}
