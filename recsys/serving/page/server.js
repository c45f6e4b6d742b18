/* The server: what is asked, with the key if there is one, and what it says when it refuses. */
const key = () => sessionStorage.getItem("key") ?? "";
function headers(more = {}) {
  return {Accept: "application/json", ...(key() ? {Authorization: `Bearer ${key()}`} : {}), ...more};
}
async function reach(path, options = {}) {
  let answer;
  try { answer = await fetch(path, {...options, headers: headers(options.headers)}); }
  catch { throw {title: "The server does not answer", detail: "Is it still running? Try again in a moment."}; }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({title: "No usable answer", detail: `Status ${answer.status}.`}));
  throw {...body, status: answer.status};
}
const ask = async path => (await reach(path)).json();
const posted = body => ({method: "POST", body: JSON.stringify(body), headers: {"Content-Type": "application/json"}});
const tell = async (path, body) => (await reach(path, posted(body))).json();
const user = id => "/v1/users/" + encodeURIComponent(id);
const item = id => "/v1/items/" + encodeURIComponent(id);
const artist = id => "/v1/artists/" + encodeURIComponent(id);

/* What happened, for those who listen to the page. */
const say = text => { $("said").textContent = text; };
const inWords = problem => [problem.title, problem.detail].filter(Boolean).join(". ");
/* Tells a problem where it is seen and heard, over an open sheet too; a fault of this page stays a fault. */
function told(problem) {
  if (problem instanceof Error) throw problem;
  document.querySelector(".toast")?.remove();
  const toast = el("p", {className: "toast", role: "alert"}, inWords(problem));
  ($("details").open ? $("details") : document.body).append(toast);
  setTimeout(() => toast.remove(), 8000);
}
/* The same in place of what was asked for. */
function fault(problem, again) {
  if (problem instanceof Error) throw problem;
  say(inWords(problem));
  const chips = (problem.nearest ?? []).map(id => button(id, () => go(id), "chip"));
  return el("section", {className: "notice"},
    el("h2", {}, problem.title ?? "Something went wrong"), el("p", {}, problem.detail ?? ""),
    chips.length ? el("div", {className: "chips", role: "group", "aria-label": "Nearest known listeners"}, ...chips) : null,
    problem.status === 401 ? keyForm() : null,
    problem.status === undefined || problem.status >= 500 ? button("Try again", again) : null);
}
function keyForm() {
  const field = el("input", {type: "password", id: "key", autocomplete: "off"});
  const form = el("form", {className: "picker"}, el("label", {htmlFor: "key"}, "API key"), field, el("button", {className: "go"}, "Use it"));
  form.addEventListener("submit", event => {
    event.preventDefault();
    sessionStorage.setItem("key", field.value.trim());
    begin();
  });
  return form;
}
function button(text, onclick, className = "chip", more = {}) {
  const node = el("button", {type: "button", className, ...more}, ...[text].flat());
  node.addEventListener("click", onclick);
  return node;
}
async function save(path, name, options = {}) {
  try {
    const link = el("a", {href: URL.createObjectURL(await (await reach(path, options)).blob()), download: name});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  } catch (problem) { told(problem); }
}
