/* A radio: what goes on from an item or an artist, in an order that flows. */
async function radio() {
  const {name, ...from} = state.radio, asked = {...from, k: 30, smooth: true};
  const list = await tell("/v1/playlists", asked);
  const items = shown(list.items);
  const link = (format, text) => button(text, () => save(`/v1/playlists?format=${format}`, `radio.${format}`, posted(asked)));
  document.documentElement.style.setProperty("--hue", hueOf("radio " + name));
  return [hero("Radio", "From here on", ["From ", el("b", {}, name), ": what is like it, by listening, words and sound, in small steps of key and tempo."],
    "radio " + name, "on air", [link("m3u", "Save as M3U"), link("jspf", "Save as JSPF")]),
    ...(items.length ? [made(items), rows(items)] : [nothing("Nothing goes on from here")])];
}
function tune(from) {
  Object.assign(state, {radio: from, view: "radio"});
  $("details").close();
  return render();
}
