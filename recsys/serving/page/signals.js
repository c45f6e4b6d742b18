/* The signals: the share of each in a list, as bars and as words, and sliders that re-weigh them. */
const SIGNALS = {
  collaborative: "Listening", text: "Words", audio: "Sound", artists: "Artists", collections: "Playlists",
  popularity: "Popularity", context: "Occasion",
};
const MEANING = {
  collaborative: "what people with your taste play",
  text: "what is written about the music",
  audio: "how it sounds",
  artists: "who you play or follow",
  collections: "what stands on lists beside it",
  popularity: "what many people play",
  context: "how new it is, how much you listen",
};
function shares(signals) {
  const total = Object.values(signals).reduce((sum, part) => sum + Math.max(part, 0), 0);
  return Object.entries(signals).map(([name, part]) => [name, total ? Math.max(part, 0) / total : 0])
    .filter(([, share]) => share > 0.004);
}
const percent = share => Math.round(share * 100) + "\u00a0%";
const sentence = parts => parts.map(([name, share]) => `${SIGNALS[name] ?? name} ${percent(share)}`).join(", ");
function bar(parts) {
  const node = el("div", {className: "bar", title: sentence(parts), "aria-hidden": "true"});
  for (const [name, share] of parts) {
    const piece = el("i", {className: name in SIGNALS ? name : ""});
    piece.style.flexGrow = share;
    node.append(piece);
  }
  return node;
}
function together(items) {
  const sum = {};
  for (const one of items) for (const [name, share] of shares(one.signals)) sum[name] = (sum[name] ?? 0) + share;
  return shares(sum).sort((a, b) => b[1] - a[1]);
}
function made(items) {
  const parts = together(items);
  return el("section", {className: "made", "aria-labelledby": "made-title"},
    el("h2", {id: "made-title"}, "What made this list"),
    bar(parts),
    el("ul", {className: "legend"}, ...parts.map(([name, share]) => el("li", {},
      el("span", {className: "dot " + (name in SIGNALS ? name : "")}), el("b", {}, percent(share)), ` ${SIGNALS[name] ?? name}`,
      MEANING[name] ? `: ${MEANING[name]}` : ""))));
}
function sliders(names, weights, onchange) {
  const field = el("fieldset", {className: "sliders"}, el("legend", {}, "How much each signal counts"));
  for (const name of names) {
    const said = el("output", {}, weights[name] === undefined ? "as trained" : weights[name].toFixed(2));
    const slider = el("input", {type: "range", min: 0, max: 2, step: 0.05, value: weights[name] ?? 1, id: `weight-${name}`});
    said.htmlFor = slider.id;
    slider.addEventListener("input", () => {
      weights[name] = Number(slider.value);
      said.textContent = weights[name].toFixed(2);
      onchange();
    });
    field.append(el("label", {htmlFor: slider.id}, SIGNALS[name] ?? name, said, slider));
  }
  const back = button("All as trained", () => {
    for (const name of names) {
      delete weights[name];
      field.querySelector(`#weight-${name}`).value = 1;
      field.querySelector(`output[for=weight-${name}]`).textContent = "as trained";
    }
    onchange();
  });
  field.append(back);
  return field;
}
