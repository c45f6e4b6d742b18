/* Sheets over the page: an item's profile, an artist's terms. */
const when = text => new Date(text).toLocaleDateString(undefined, {year: "numeric", month: "long", day: "numeric", timeZone: "UTC"});
const length = s => `${Math.floor(s / 60)}:${String(Math.round(s % 60)).padStart(2, "0")}`;
function sheet(title, by, picture, ...parts) {
  const dialog = $("details");
  const close = button(sign("cross"), () => dialog.close(), "close", {"aria-label": "Close"});
  dialog.replaceChildren(el("div", {className: "sheet"}, close,
    el("div", {className: "sheet-head"}, picture, el("div", {}, el("h2", {id: "details-title"}, title), ...by)), ...parts));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  close.focus();
}
const part = (title, ...inside) => el("section", {}, el("h3", {}, title), ...inside);

function profile(sound) {
  if (!sound) return null;
  const facts = [
    ["Tempo", sound.tempo_bpm ? `${Math.round(sound.tempo_bpm)} BPM` : null],
    ["Key", sound.key ? `${sound.key} ${sound.mode ?? ""}` : null],
    ["Metre", sound.time_signature], ["Loudness", sound.loudness_lufs === null ? null : `${sound.loudness_lufs.toFixed(1)} LUFS`],
  ].filter(([, value]) => value);
  return part("How it sounds", el("dl", {className: "facts"}, ...facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))));
}
function near(similar) {
  return el("ul", {className: "near"}, ...similar.map(one => {
    const node = button("", () => show(one.id), "");
    node.append(cover(one.id, one.artist ?? one.id), el("span", {}, el("b", {}, one.title ?? one.id), el("span", {className: "by"}, one.artist ?? "")));
    return el("li", {}, node);
  }));
}
/* Neighbours by each model that knows the item; the chosen one is drawn. */
function neighbours(id, models) {
  const place = el("div", {"aria-live": "polite"});
  const choose = async (by, pressed) => {
    for (const one of tabs.children) one.setAttribute("aria-pressed", String(one === pressed));
    try { place.replaceChildren(near((await ask(`${item(id)}/similar?k=6&by=${by}`)).similar)); } catch (problem) { told(problem); }
  };
  const tabs = el("div", {className: "tabs", role: "group", "aria-label": "Neighbours by model"});
  for (const by of ["hybrid", ...models]) {
    const tab = button(by === "hybrid" ? "All together" : SIGNALS[by] ?? by, () => choose(by, tab), "", {"aria-pressed": "false"});
    tabs.append(tab);
  }
  choose("hybrid", tabs.firstChild);
  return part("Close to it", tabs, place);
}
async function show(id, listed) {
  try {
    const about = await ask(item(id));
    const maker = about.artist;
    const facts = [about.kind, about.duration_s ? length(about.duration_s) : null,
      about.released_at ? when(about.released_at) : null,
      `${about.listeners.toLocaleString()} ${about.listeners === 1 ? "listener" : "listeners"}`, ...about.labels].filter(Boolean);
    sheet(about.title ?? id,
      [maker ? el("p", {}, button(maker.name, () => showArtist(maker.artist_id), "link")) : null,
        el("p", {className: "by"}, facts.join(" · ")),
        el("p", {className: "chips"}, playButton(id, about.title ?? id, maker?.name, true),
          button("Radio", () => tune({seeds: [id], name: about.title ?? id}), "chip", {"aria-label": `Radio from ${about.title ?? id}`}))],
      cover(id, maker?.name ?? id),
      listed?.reasons.length ? part("Why it is in the list", bar(shares(listed.signals)),
        el("p", {className: "by"}, sentence(shares(listed.signals))),
        el("ul", {className: "reasons"}, ...listed.reasons.map(reason => el("li", {}, reason)))) : null,
      profile(about.descriptors),
      about.terms.length ? part("What is said of it", el("ul", {className: "cloud"}, ...about.terms.slice(0, 12).map(one => el("li", {}, one.term)))) : null,
      neighbours(id, about.models));
  } catch (problem) { told(problem); }
}
const TYPES = {n2: "Pairs of words (n2)", np: "Noun phrases (np)", adj: "Adjectives (adj)", n1: "Words (n1)", artist: "Artists named beside them"};
function termTable(type, terms) {
  const most = Math.max(...terms.map(one => one.weight), 1e-9);
  return el("table", {className: "terms"}, el("caption", {}, TYPES[type] ?? type),
    el("thead", {}, el("tr", {}, el("th", {scope: "col"}, "term"), el("th", {scope: "col"}, "score"))),
    el("tbody", {}, ...terms.map(one => el("tr", {}, el("td", {}, one.term),
      el("td", {}, el("meter", {min: 0, max: 1, value: one.weight / most, "aria-label": `score of ${one.term}`}), " ", one.weight.toFixed(3))))));
}
async function showArtist(id) {
  try {
    const [about, related] = await Promise.all([ask(artist(id)), ask(artist(id) + "/related?k=8")]);
    const types = Object.entries(about.term_table).filter(([, terms]) => terms.length);
    sheet(about.name, [el("p", {className: "by"}, `${about.items.length} pieces here`),
        about.items.length ? el("p", {}, button("Radio", () => tune({artists: [id], name: about.name}), "chip", {"aria-label": `Radio of ${about.name}`})) : null],
      cover(about.name, about.name),
      types.length ? part("What is written about them", el("div", {className: "tables"}, ...types.map(([type, terms]) => termTable(type, terms)))) : null,
      part("Related artists", el("div", {className: "chips"}, ...related.similar.map(one => button(one.title ?? one.id, () => showArtist(one.id))))),
      part("Most played", near(about.items.slice(0, 8).map(one => ({id: one.item_id, title: one.title, artist: about.name})))));
  } catch (problem) { told(problem); }
}
$("details").addEventListener("click", event => { if (event.target === $("details")) $("details").close(); });
