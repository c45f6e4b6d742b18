/* What is seen: the address after # names the listener, the tabs the view. */
const VIEWS = {week, now: mix, new: making, map: atlas, radio};
let latest = 0;
async function render() {
  const turn = ++latest, view = $("view");
  view.className = "waiting";
  for (const tab of $("tabs").children) tab.setAttribute("aria-pressed", String(tab.dataset.view === state.view));
  try {
    const parts = await VIEWS[state.view]();
    if (turn !== latest) return;
    view.replaceChildren(...parts);
    document.title = {week: `Discover Weekly for ${state.id}`, now: `Right now for ${state.id}`, new: "A new listener", map: "The map", radio: `Radio from ${state.radio?.name}`}[state.view];
    const n = view.querySelectorAll(".row").length;
    say(n ? `${document.title}: ${n} pieces.` : document.title);
  } catch (problem) {
    if (turn === latest) view.replaceChildren(fault(problem, render));
  } finally {
    if (turn === latest) view.className = "";
  }
}
const wanted = () => { try { return decodeURIComponent(location.hash.slice(2)); } catch { return ""; } };
function turnTo(id) {
  if (state.id !== id) Object.assign(state, {id, history: [], hidden: new Set(), liked: new Set(), weights: {}});
  if (!["week", "now"].includes(state.view)) state.view = "week";
  $("listener").value = id;
  return render();
}
function go(id) {
  const hash = "#/" + encodeURIComponent(id);
  if (location.hash === hash) turnTo(id); else location.hash = hash;
}
let known = [];
$("picker").addEventListener("submit", event => { event.preventDefault(); go($("listener").value); });
$("other").prepend(sign("shuffle"));
$("other").addEventListener("click", () => {
  const others = known.filter(id => id !== state.id);
  if (others.length) go(others[Math.floor(Math.random() * others.length)]);
});
for (const tab of $("tabs").children) tab.addEventListener("click", () => { state.view = tab.dataset.view; render(); });
$("private").addEventListener("change", () => {
  say(isPrivate() ? "Private session: what you do is kept nowhere." : "What you do counts again.");
});
addEventListener("hashchange", () => { if (location.hash.startsWith("#/")) { $("details").close(); turnTo(wanted()); } });
async function begin() {
  try {
    const page = await ask("/v1/users?limit=200");
    known = page.users.map(one => one.user_id);
    $("listeners").replaceChildren(...known.map(id => el("option", {value: id})));
    const id = wanted() || known[0];
    if (id) turnTo(id); else { state.view = "new"; render(); }
    const models = await ask("/v1/models");
    $("served").textContent = `${page.total.toLocaleString()} listeners · version ${models.serving}`;
  } catch (problem) {
    $("view").replaceChildren(fault(problem, begin));
  }
}
begin();
