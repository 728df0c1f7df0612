// The conversation list: shows what the server rendered; renames and confirms in place.
const list = element.querySelector(".list");
const problem = element.querySelector(".problem");
const find = element.querySelector(".find input");
const page = document.documentElement;
const entry = (node) => node.closest("li");

function closeDrawer() {
  page.classList.remove("drawer");
}

// A small form in place of an entry; leaving it by Escape changes nothing.
function inPlace(item, html, keep) {
  list.querySelectorAll(".in-place").forEach((form) => form.remove());
  const form = document.createElement("form");
  form.className = "in-place";
  form.dataset.keep = "";
  form.innerHTML = html;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    keep(form);
    form.remove();
  });
  form.addEventListener("keydown", (event) => event.key === "Escape" && form.remove());
  item.append(form);
  return form;
}

function rename(button) {
  const item = entry(button);
  const html = `<input aria-label="${t("title")}" maxlength="200"><button type="submit">${t("save")}</button>`;
  const form = inPlace(item, html, (f) =>
    trigger("rename", { id: item.dataset.id, text: f.querySelector("input").value }),
  );
  const field = form.querySelector("input");
  field.value = item.querySelector(".open").textContent;
  field.select();
}

let removing = false; // the focus goes on to Undo
function remove(button) {
  const item = entry(button);
  const title = item.querySelector(".open").textContent;
  trigger("delete", { id: item.dataset.id, title });
  item.querySelectorAll("button").forEach((b) => (b.disabled = true));
  removing = true;
}

onAction(element, {
  fresh() {
    closeDrawer();
    history.replaceState(history.state, "", location.pathname + location.search);
    trigger("fresh", {});
  },
  open(button) {
    closeDrawer();
    trigger("open", { id: entry(button).dataset.id });
  },
  rename,
  delete: remove,
  restore: () => trigger("restore", {}),
  dismiss: () => trigger("dismiss", {}),
  more: () => trigger("more", {}),
  close: closeDrawer,
});

element.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.querySelector("#chat .composer textarea").focus();
});
let typing = null;
find.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => trigger("search", { text: find.value }), 180);
});
document.addEventListener("keydown", (event) => event.key === "Escape" && closeDrawer());

translate(element);
document.addEventListener("redraft-language", () => translate(element));

const RETRY = 3000; // milliseconds until a list that could not be read is asked for again
let retrying = null;
const undo = element.querySelector(".undo");
const who = element.querySelector(".who");
onNewest(props, watch, (value) => {
  if (value.login) return void location.reload(); // the session has ended: to the sign-in form
  who.hidden = !value.who;
  element.querySelector(".review-link").hidden = !["reviewer", "admin"].includes(value.role);
  element.querySelector(".dashboard-link").hidden = value.role !== "admin";
  who.querySelector("span").textContent = value.who;
  const had = undo.contains(document.activeElement);
  undo.hidden = !value.deleted;
  undo.querySelector("span").textContent = value.deleted;
  if (had && undo.hidden) element.querySelector(".fresh").focus();
  if (removing && value.deleted) undo.querySelector("button").focus();
  removing = false;
  morphHtml(list, value.problem ? "" : value.html);
  problem.textContent = value.problem;
  problem.hidden = !value.problem;
  clearTimeout(retrying);
  const conversation = location.hash.startsWith("#conv_") ? location.hash.slice(1) : "";
  if (value.problem) retrying = setTimeout(() => trigger("retry", { conversation }), RETRY);
});
