/* The player. A clip is fetched as a whole, because an audio element cannot send a key. */
const sounds = id => state.playing === id && !$("audio").paused;
function playButton(id, title, by, words = false) {
  const node = button("", () => play(id, title, by), words ? "chip" : "deed");
  Object.assign(node.dataset, {deed: "play", plays: id, title});
  wear(node);
  return node;
}
/* What the button does next is its sign, its word and its name. */
function wear(node) {
  const on = sounds(node.dataset.plays), word = on ? "Pause" : "Play";
  node.classList.toggle("on", on);
  node.setAttribute("aria-label", `${word} ${node.dataset.title}`);
  node.replaceChildren(sign(word.toLowerCase()), ...(node.classList.contains("chip") ? [word] : []));
}
const mark = () => { for (const node of document.querySelectorAll("[data-plays]")) wear(node); };
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
