/* The player. A clip is fetched as a whole, because an audio element cannot send a key. */
const sounds = id => state.playing === id && !$("audio").paused;
function playButton(id, title, by, words) {
  const node = button([sign(sounds(id) ? "pause" : "play"), words ?? ""], () => play(id, title, by), words ? "chip" : "deed",
    {"aria-label": `Play ${title}`, "aria-pressed": String(sounds(id))});
  Object.assign(node.dataset, {deed: "play", plays: id});
  return node;
}
function mark() {
  for (const node of document.querySelectorAll("[data-plays]")) {
    const on = sounds(node.dataset.plays);
    node.setAttribute("aria-pressed", String(on));
    node.firstChild.replaceWith(sign(on ? "pause" : "play"));
  }
}
for (const event of ["play", "pause", "ended", "emptied"]) $("audio").addEventListener(event, mark);
/* Nothing may lie below it for good: sheets and the map leave so much room. */
new ResizeObserver(() => {
  document.documentElement.style.setProperty("--player", `${$("player").offsetHeight}px`);
}).observe($("player"));

let clip, played = 0;
async function play(id, title, by) {
  const turn = ++played, audio = $("audio");
  try {
    if (state.playing !== id) {
      const sound = await (await reach(item(id) + "/audio")).blob();
      if (turn !== played) return;
      URL.revokeObjectURL(clip);
      clip = URL.createObjectURL(sound);
      state.playing = id;
      audio.src = clip;
      $("playing").replaceChildren(el("b", {}, title), el("span", {className: "by"}, by ?? ""));
      $("playing-art").replaceChildren(cover(id, by ?? id));
      $("player").hidden = false;
    } else if (!audio.paused) { audio.pause(); return; }
    await audio.play();
    say(`Playing ${title}.`);
  } catch (problem) {
    if (problem instanceof DOMException) return;  // a browser that wants a click on its own control
    told(problem.status === 404 ? {title: "There is no recording of this one"} : problem);
  }
}
$("stop").append(sign("cross"));
$("stop").addEventListener("click", () => {
  const id = state.playing;
  state.playing = null;
  $("audio").pause();
  $("audio").removeAttribute("src");
  $("player").hidden = true;
  (document.querySelector(`[data-plays="${CSS.escape(id)}"]`) ?? $("main")).focus({preventScroll: true});
});
